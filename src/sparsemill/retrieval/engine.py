"""What every retrieval engine offers."""

from typing import NamedTuple, Protocol, TypeVar

from sparsemill.retrieval.runs import Hit

Queries_contra = TypeVar("Queries_contra", contravariant=True)


class Statistics(NamedTuple):
    """What an index holds.

    Attributes:
        documents: all of the collection, those without a single posting included.
        postings: pairs of a document and a distinct term in it.
    """

    documents: int
    postings: int


class Engine(Protocol[Queries_contra]):
    """An index that is open for search.

    Queries are a list of texts, or a CSR matrix [queries, vocabulary] of weights that are not negative.
    """

    def search(self, queries: Queries_contra, k: int) -> list[list[Hit]]:
        """The k best documents of each query: score descending, ties in the order of the corpus.

        Documents with score 0 are never returned, so a list may be shorter than k, or empty.
        """

    def statistics(self) -> Statistics:
        """Counts of the whole index."""


def check_statistics(found: Statistics, expected: Statistics) -> None:
    """Compare an index just built with what went into it.

    Raises:
        RuntimeError: they differ, so the engine lost or merged something.
    """
    if found != expected:
        raise RuntimeError(f"the index holds {found}, but {expected} went in")
