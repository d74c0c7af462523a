"""BM25 in Lucene, as Anserini runs it on BEIR: title and text as one field (flat), or as two (multifield)."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sparsemill.data.collection import Document
from sparsemill.progress import track
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.jvm import disk_errors, java
from sparsemill.retrieval.lucene import FIELD, Searcher, Writer
from sparsemill.retrieval.runs import Hit

TITLE = "title"
FIELDS: dict[str, Callable[[Document], dict[str, str]]] = {
    "flat": lambda document: {FIELD: document.contents},
    "multifield": lambda document: {FIELD: document.text, TITLE: document.title},
}
"""Field -> text of a document. Every field of a query's match adds its score, with weight 1."""


def _english() -> Any:
    return java("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()


def _standard() -> Any:
    return java("org.apache.lucene.analysis.standard.StandardAnalyzer")()


_ANALYZERS = {"english": _english, "standard": _standard}


def open_analyzer(name: str) -> Any:
    """A Java object that splits texts into terms.

    Args:
        name: `english`: Anserini's default, standard tokens in lower case without possessives, Lucene's 33 stop words
            removed, stemmed by Porter. `standard`: Lucene's and OpenSearch's default, standard tokens in lower case,
            stop words kept, nothing stemmed.
    """
    return _ANALYZERS[name]()


def build_bm25(
    folder: Path, documents: Iterable[Document], *, total: int, analyzer: str = "english", fields: str = "flat"
) -> Statistics:
    """Index documents for BM25; k1 and b are chosen at search time.

    Args:
        folder: an empty folder for the index.
        documents: in the order of the corpus.
        total: how many there are.
        analyzer: see `open_analyzer`.
        fields: key of `FIELDS`.

    Raises:
        UserError: a document id is there twice.
        RuntimeError: the index holds another number of documents.
    """
    with disk_errors(folder):
        writer = Writer(folder, analyzer=open_analyzer(analyzer), norms=True)
        for document in track(documents, "bm25 index", total=total, unit="doc"):
            writer.add(document.id, FIELDS[fields](document))
        writer.close()
    found = LuceneBm25(folder, analyzer=analyzer, fields=fields).statistics()
    check_statistics(found, Statistics(total, found.postings))
    return found


def _weights(fields: Iterable[str]) -> Any:
    weights = java("java.util.HashMap")()
    for field in fields:
        weights.put(field, java("java.lang.Float")(1.0))
    return weights


class LuceneBm25:
    """A BM25 index open for search; queries are texts.

    Args:
        folder: what `build_bm25` filled.
        k1: saturation of term frequency.
        b: strength of length normalisation, 0 to 1.
        analyzer: that of `build_bm25`.
        fields: those of `build_bm25`.

    Raises:
        UserError: there is no index in `folder`.
    """

    def __init__(
        self, folder: Path, *, k1: float = 0.9, b: float = 0.4, analyzer: str = "english", fields: str = "flat"
    ) -> None:
        similarity = java("org.apache.lucene.search.similarities.BM25Similarity")(float(k1), float(b))
        names = list(FIELDS[fields](Document("", "", "")))
        self._searcher = Searcher(folder, similarity=similarity, fields=names)
        self._analyzer = open_analyzer(analyzer)
        self._generator = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._target = FIELD if names == [FIELD] else _weights(names)

    def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        """The k best documents of each text; see `Engine.search`."""
        build = self._generator.buildQuery
        return [self._searcher.search(build(self._target, self._analyzer, text), k) for text in queries]

    def statistics(self) -> Statistics:
        """Counts of the whole index."""
        return self._searcher.statistics()
