"""Embed the queries and one shard of the documents of a collection with a siamese teacher."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `documents` of the shard and, in the first shard, `queries`."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from sparsemill.data.collection import read_corpus, read_queries
    from sparsemill.teachers.cache import save_matrix
    from sparsemill.teachers.embed import embed
    from sparsemill.teachers.score import shard_bounds

    collection = job.input("collection")
    documents = [document.contents for document in read_corpus(collection)]
    queries = [query.text for query in read_queries(collection)]
    start, end = shard_bounds(len(documents), shard=job.spec["shard"], shards=job.spec["shards"])
    first = job.spec["shard"] == 0
    embedded = embed(job.spec, queries if first else [], documents[start:end], label=job.key)
    save_matrix(job.out, "documents", embedded.documents)
    if first:
        save_matrix(job.out, "queries", embedded.queries)
    job.device = embedded.device
    job.facts.update(documents=end - start, dimensions=embedded.documents.shape[1])


if __name__ == "__main__":
    sys.exit(main("embed_teacher", run, doc=__doc__))
