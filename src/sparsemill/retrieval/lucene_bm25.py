"""BM25 over title and text as one field: Lucene with Anserini's English analyzer, its flat setting for BEIR."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sparsemill.data.collection import Document
from sparsemill.progress import track
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.jvm import disk_errors, java
from sparsemill.retrieval.lucene import FIELD, Searcher, Writer
from sparsemill.retrieval.runs import Hit


def english_analyzer() -> Any:
    """Anserini's default: standard tokens, lower case, Lucene's 33 stop words out, Porter's stemmer."""
    return java("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()


def build_bm25(folder: Path, documents: Iterable[Document], *, total: int) -> Statistics:
    """Index documents for BM25; k1 and b are chosen at search time.

    Args:
        folder: an empty folder for the index.
        documents: in the order of the corpus.
        total: how many there are.

    Raises:
        UserError: a document id is there twice.
        RuntimeError: the index holds another number of documents.
    """
    with disk_errors(folder):
        writer = Writer(folder, analyzer=english_analyzer(), norms=True)
        for document in track(documents, "bm25 index", total=total, unit="doc"):
            writer.add(document.id, document.contents)
        writer.close()
    found = LuceneBm25(folder).statistics()
    check_statistics(found, Statistics(total, found.postings))
    return found


class LuceneBm25:
    """A BM25 index open for search; queries are texts.

    Args:
        folder: what `build_bm25` filled.
        k1: saturation of term frequency.
        b: strength of length normalisation, 0 to 1.

    Raises:
        UserError: there is no index in `folder`.
    """

    def __init__(self, folder: Path, *, k1: float = 0.9, b: float = 0.4) -> None:
        similarity = java("org.apache.lucene.search.similarities.BM25Similarity")(float(k1), float(b))
        self._searcher = Searcher(folder, similarity=similarity)
        self._analyzer = english_analyzer()
        self._generator = java("io.anserini.search.query.BagOfWordsQueryGenerator")()

    def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        """The k best documents of each text; see `Engine.search`."""
        return [self._searcher.search(self._generator.buildQuery(FIELD, self._analyzer, text), k) for text in queries]

    def statistics(self) -> Statistics:
        """Counts of the whole index."""
        return self._searcher.statistics()
