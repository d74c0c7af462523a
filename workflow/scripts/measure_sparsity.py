"""Measure FLOPS, tokens per document and per query, and postings of a retriever on a collection."""

import sys
from collections.abc import Iterator
from typing import Any

from sparsemill.job import Job, main

BLOCK = 65_536
"""Documents read at once."""


def run(job: Job) -> None:
    """Write `sparsity.json`; weights are counted as the index holds them, those that round to 0 are not active."""
    from sparsemill.evaluation.sparsity import count_active, sparsity
    from sparsemill.files import write_json

    read = read_embeddings if job.spec["kind"] in ("bm25", "sparse") else read_retriever
    queries, documents = read(job)
    found = sparsity(count_active([queries]), count_active(documents))
    write_json(job.out / "sparsity.json", found.named())
    job.facts.update(queries=queries.shape[0], documents=found.documents, postings=found.postings)


def read_retriever(job: Job) -> tuple[Any, Iterator[Any]]:
    """Queries encoded by `model` (with `idf`, if given) and documents of the `vectors` shards, both quantised."""
    from sparsemill.data.collection import read_queries
    from sparsemill.retrieval.queries import open_queries
    from sparsemill.retrieval.vectors import quantise, read_chunks

    scale = job.spec["quantisation"]
    idf = job.input("idf") / "idf.json" if "idf" in job.inputs else None
    encoder = open_queries(job.input("model"), job.spec, idf=idf, threads=job.threads)
    texts = [query.text for query in read_queries(job.input("collection"), split=job.spec["split"])]
    documents = (quantise(part.matrix, scale) for part in read_chunks(job.inputs["vectors"]))
    return quantise(encoder.encode(texts), scale), documents


def read_embeddings(job: Job) -> tuple[Any, Iterator[Any]]:
    """Queries of the split and documents from the `vectors` that a sparse teacher or BM25 has cached."""
    from sparsemill.data.collection import read_queries
    from sparsemill.teachers.cache import load_embeddings

    collection, split = job.input("collection"), job.spec["split"]
    judged = {query.id for query in read_queries(collection, split=split)}
    rows = [row for row, query in enumerate(read_queries(collection)) if query.id in judged]
    cached = load_embeddings(job.inputs["vectors"])
    count = cached.documents.shape[0]
    parts = (cached.documents[range(start, min(start + BLOCK, count))] for start in range(0, count, BLOCK))
    return cached.queries[rows], parts


if __name__ == "__main__":
    sys.exit(main("measure_sparsity", run, doc=__doc__))
