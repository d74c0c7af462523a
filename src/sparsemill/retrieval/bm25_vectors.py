"""BM25 as sparse vectors, so that it can score any (query, document) pair: score = query row . document row.

The terms, the quantised document lengths and the idf are Lucene's, so scores equal those of `lucene_bm25`.
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sparsemill.progress import track
from sparsemill.retrieval.jvm import java
from sparsemill.retrieval.lucene_bm25 import open_analyzer

Array = np.ndarray[Any, Any]
_EXACT_LENGTHS = 24
_MANTISSA_BITS = 4


def quantised_length(lengths: Array) -> Array:
    """Document lengths after Lucene's one byte: `SmallFloat.byte4ToInt(intToByte4(length))`.

    Lengths below 24 are kept; of a longer one, length - 24 keeps its four leading bits. Exact up to 39.
    """
    excess = np.maximum(lengths.astype(np.int64) - _EXACT_LENGTHS, 0)
    bits = np.frexp(excess.astype(np.float64))[1]
    shift = np.maximum(bits - _MANTISSA_BITS, 0)
    quantised: Array = np.where(lengths < _EXACT_LENGTHS, lengths, _EXACT_LENGTHS + ((excess >> shift) << shift))
    return quantised


def _analyse(analyzer: Any, text: str) -> list[str]:
    # A list prints as "[a, b]", one call for the whole text; no term of a standard tokenizer holds a space.
    printed = java("io.anserini.analysis.AnalyzerUtils").analyze(analyzer, text).toString()[1:-1]
    return printed.split(", ") if printed else []


@dataclass(frozen=True)
class Bm25Vectors:
    """Documents as BM25 vectors, and the means to make query vectors.

    Attributes:
        vocabulary: term -> column.
        documents: CSR float32 [documents, vocabulary]: tf / (tf + k1 * (1 - b + b * length / average length)).
        idf: float32 [vocabulary]: ln(1 + (N - df + 0.5) / (df + 0.5)), N counting documents that have a term.
        analyzer: Java object that splits texts.
    """

    vocabulary: dict[str, int]
    documents: Any
    idf: Array
    analyzer: Any

    def encode_queries(self, texts: Iterable[str]) -> Any:
        """CSR float32 [queries, vocabulary]: count of the term in the query * idf; unknown terms are left out."""
        counts = _count((_analyse(self.analyzer, text) for text in texts), self.vocabulary, grow=False)
        counts.data *= self.idf[counts.indices]
        return counts


def build_bm25_vectors(
    texts: Iterable[str], *, total: int, k1: float = 0.9, b: float = 0.4, analyzer: str = "english"
) -> Bm25Vectors:
    """Analyse one field of the documents and weigh its terms; memory holds 25 bytes for each of a document's terms.

    Args:
        texts: of the field, in the order of the corpus, read once; a text may be empty.
        total: how many there are.
        k1: saturation of term frequency.
        b: strength of length normalisation, 0 to 1.
        analyzer: see `sparsemill.retrieval.lucene_bm25.open_analyzer`.
    """
    splitter, vocabulary = open_analyzer(analyzer), dict[str, int]()
    terms = (_analyse(splitter, text) for text in track(texts, "bm25 vectors", total=total, unit="doc"))
    documents = _count(terms, vocabulary, grow=True)
    documents.resize(documents.shape[0], len(vocabulary))
    lengths = np.asarray(documents.sum(axis=1)).ravel().astype(np.int64)
    having_terms = int((lengths > 0).sum())
    frequency = np.bincount(documents.indices, minlength=len(vocabulary))
    idf = np.log1p((having_terms - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    norms = k1 * (1 - b + b * quantised_length(lengths) / max(lengths.sum() / max(having_terms, 1), 1e-9))
    divisors = np.repeat(norms, np.diff(documents.indptr))
    divisors += documents.data
    documents.data /= divisors
    documents.data = documents.data.astype(np.float32)
    return Bm25Vectors(vocabulary, documents, idf, splitter)


def _count(texts: Iterable[list[str]], vocabulary: dict[str, int], *, grow: bool) -> Any:
    """CSR [texts, vocabulary] of term counts, float64 when the vocabulary grows with the texts, else float32."""
    bounds, columns, counts = array("q", [0]), array("i"), array("i")
    for terms in texts:
        for term, count in Counter(terms).items():
            column = vocabulary.setdefault(term, len(vocabulary)) if grow else vocabulary.get(term)
            if column is not None:
                columns.append(column)
                counts.append(count)
        bounds.append(len(columns))
    data = np.array(counts, dtype=np.float64 if grow else np.float32)
    del counts
    shape = (len(bounds) - 1, len(vocabulary))
    matrix = sparse.csr_matrix((data, np.asarray(columns), np.asarray(bounds)), shape=shape)
    matrix.sort_indices()
    return matrix
