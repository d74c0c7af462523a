"""Embed the queries and one shard of the documents of a collection with a siamese teacher."""

import sys
from collections.abc import Iterator
from itertools import islice

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `documents` of the shard and, in the first shard, `queries`; goes on where a stopped run had come to."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from sparsemill.data.collection import Document, document_count, read_corpus, read_queries
    from sparsemill.teachers.cache import save_joined
    from sparsemill.teachers.embed import embed, embed_bm25
    from sparsemill.teachers.score import shard_bounds

    collection = job.input("collection")
    start, end = shard_bounds(document_count(collection), shard=job.spec["shard"], shards=job.spec["shards"])

    def documents() -> Iterator[Document]:
        return islice(read_corpus(collection), start, end)

    first = job.spec["shard"] == 0
    queries = [query.text for query in read_queries(collection)] if first else []
    if job.spec["kind"] == "bm25":
        embedded = embed_bm25(job.spec, queries, documents, total=end - start)
    else:
        from sparsemill.device import chosen_precision

        embedded = embed(
            job.spec,
            queries,
            (document.contents for document in documents()),
            label=job.key,
            state=job.own_state(**chosen_precision(job.spec, device=job.spec["device"])),
            model=job.input("model") if "model" in job.inputs else None,
        )
    rows, dimensions = save_joined(job.out, "documents", embedded.documents)
    if first:
        save_joined(job.out, "queries", embedded.queries)
    job.device = embedded.device
    job.facts.update(documents=rows, dimensions=dimensions)


if __name__ == "__main__":
    sys.exit(main("embed_teacher", run, doc=__doc__))
