"""Learned sparse vectors in Lucene: a token's quantised weight is stored as its term frequency.

Score = sum over tokens of round(query weight * Q) * round(document weight * Q), a whole number, exact below 2^24.
Anserini's `JsonVectorCollection` repeats each token as often as its weight; here the frequency is given outright,
which makes the same index about ten times faster.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.progress import Progress
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.jvm import declare, disk_errors, java
from sparsemill.retrieval.lucene import FIELD, Searcher, Writer
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.two_phase import TwoPhase, split_queries, window_size
from sparsemill.retrieval.vectors import CHUNK, quantise, read_chunks, round_weights

SETTINGS = "impact.json"
_DELIMITER = "|"
_CLAUSES = 100_000
_UNSAFE = re.compile(r"[\s%|]")


def term(token: str) -> str:
    """The term of a token in the index: whitespace, `%` and `|` are percent-encoded, all else stays."""
    return _UNSAFE.sub(lambda match: quote(match[0], safe=""), token)


def _analyzer() -> Any:
    """Splits `token|3 other|1` at the spaces; the number becomes the term frequency."""
    settings = java("java.util.HashMap")()
    settings.put("delimiter", _DELIMITER)
    width = java("java.util.HashMap")()
    width.put("maxTokenLen", "32766")
    builder = java("org.apache.lucene.analysis.custom.CustomAnalyzer").builder()
    return builder.withTokenizer("whitespace", width).addTokenFilter("delimitedTermFrequency", settings).build()


def build_impact(
    folder: Path, shards: Sequence[Path], *, vocabulary: Sequence[str], quantisation: int, chunk: int = CHUNK
) -> Statistics:
    """Index shards of vectors and compare its counts with the vectors; memory holds ids and a part of the postings.

    Args:
        folder: an empty folder for the index.
        shards: folders of vectors, in the order of the corpus.
        vocabulary: token of each column.
        quantisation: Q; a weight below 0.5 / Q is dropped.
        chunk: postings in memory at a time.

    Raises:
        UserError: a shard is broken or has another vocabulary, or a document id is there twice.
        RuntimeError: the index holds other numbers of documents or postings than the vectors.
    """
    terms = [term(token) for token in vocabulary]
    documents = postings = 0
    with disk_errors(folder):
        writer = Writer(folder, analyzer=_analyzer(), norms=False)
        for number, part in enumerate(read_chunks(shards, postings=chunk, vocabulary=len(terms)), start=1):
            impacts = quantise(part.matrix, quantisation)
            _add(writer, part.ids, impacts, terms, label=f"impact index, part {number}")
            documents, postings = documents + len(part.ids), postings + impacts.nnz
        writer.close()
    write_json(folder / SETTINGS, {"quantisation": quantisation, "vocabulary": list(vocabulary)})
    found = LuceneImpact(folder).statistics()
    check_statistics(found, Statistics(documents, postings))
    return found


def _add(writer: Writer, ids: list[str], impacts: Any, terms: list[str], *, label: str) -> None:
    progress = Progress(label, len(ids), unit="doc")
    bounds = impacts.indptr.tolist()
    for row, doc_id in enumerate(ids):
        span = slice(bounds[row], bounds[row + 1])
        pairs = zip(impacts.indices[span].tolist(), impacts.data[span].tolist(), strict=True)
        writer.add(doc_id, {FIELD: " ".join([f"{terms[column]}{_DELIMITER}{impact}" for column, impact in pairs])})
        progress.advance()


class LuceneImpact:
    """An impact index open for search; queries are CSR [queries, vocabulary] of float weights.

    Args:
        folder: what `build_impact` filled.
        two_phase: search in two phases, see `sparsemill.retrieval.two_phase` (None: in one, which finds all).

    Raises:
        UserError: there is no index in `folder`.
    """

    def __init__(self, folder: Path, *, two_phase: TwoPhase | None = None) -> None:
        self._two_phase = two_phase
        settings = read_json(folder / SETTINGS)
        self.quantisation: int = settings["quantisation"]
        self._vocabulary: list[str] = settings["vocabulary"]
        self._searcher = Searcher(folder, similarity=java("io.anserini.search.similarity.ImpactSimilarity")())
        self._builder = declare(
            "org/apache/lucene/search/BooleanQuery$Builder",
            methods={
                "add": "(Lorg/apache/lucene/search/BooleanClause;)Lorg/apache/lucene/search/BooleanQuery$Builder;",
                "build": "()Lorg/apache/lucene/search/BooleanQuery;",
            },
        )
        # A token weighs the same in every query of an inference-free model, so few clauses are ever made; bounded,
        # because the weights of encoded queries are all different.
        self._clause = lru_cache(maxsize=_CLAUSES)(self._make_clause)

    def search(self, queries: Any, k: int) -> list[list[Hit]]:
        """The k best documents of each row; see `Engine.search`. Query weights are quantised as documents are.

        Raises:
            UserError: the matrix has another vocabulary size than the index, or k is too large for two phases.
        """
        if queries.shape[1] != len(self._vocabulary):
            raise UserError(
                f"queries have {queries.shape[1]} columns, but the index has {len(self._vocabulary)} tokens; "
                "search with the model that the index was made with"
            )
        if self._two_phase is None:
            return [self._searcher.search(query, k) for query in self._made(queries)]
        window = window_size(k, self._two_phase)
        high, low = split_queries(queries, self._two_phase.prune_ratio)
        pairs = zip(self._made(high), self._made(low), strict=True)
        return [self._searcher.search_twice(first, second, k, window=window) for first, second in pairs]

    def _made(self, queries: Any) -> Iterator[Any]:
        """A Java `Query` for each row."""
        columns, impacts = queries.indices.tolist(), round_weights(queries.data, self.quantisation).tolist()
        for start, end in pairwise(queries.indptr.tolist()):
            yield self._query(columns[start:end], impacts[start:end])

    def _query(self, columns: list[int], impacts: list[int]) -> Any:
        builder = self._builder()
        for column, impact in zip(columns, impacts, strict=True):
            if impact:
                builder.add(self._clause(column, impact))
        return builder.build()

    def _make_clause(self, column: int, impact: int) -> Any:
        occur = java("org.apache.lucene.search.BooleanClause$Occur").SHOULD
        match = java("org.apache.lucene.search.TermQuery")(
            java("org.apache.lucene.index.Term")(FIELD, term(self._vocabulary[column]))
        )
        weighted = java("org.apache.lucene.search.BoostQuery")(match, float(impact))
        return java("org.apache.lucene.search.BooleanClause")(weighted, occur)

    def statistics(self) -> Statistics:
        """Counts of the whole index."""
        return self._searcher.statistics()
