"""Score one shard of the mined candidates with a teacher."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Score every (query, document) pair of the shard by the teacher's cached embeddings."""
    from sparsemill.data.collection import read_corpus, read_queries
    from sparsemill.teachers.cache import load_embeddings
    from sparsemill.teachers.score import read_pairs, score_pairs, write_scores

    collection = job.input("collection")
    pairs = read_pairs(job.input("candidates"), shard=job.spec["shard"], shards=job.spec["shards"])
    scores = score_pairs(
        pairs,
        load_embeddings(job.inputs["embeddings"]),
        query_ids=[query.id for query in read_queries(collection)],
        document_ids=[document.id for document in read_corpus(collection)],
    )
    write_scores(job.out / "scores.parquet", pairs, scores)
    job.facts["pairs"] = len(scores)


if __name__ == "__main__":
    sys.exit(main("score_teacher", run, doc=__doc__))
