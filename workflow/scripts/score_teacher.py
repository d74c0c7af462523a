"""Score one shard of the mined candidates with a teacher."""

import sys
from collections.abc import Sequence
from functools import partial

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Score every (query, document) pair of the shard: by cached embeddings, by a model, or from a file."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from sparsemill.data.collection import read_corpus, read_queries
    from sparsemill.device import chosen_precision
    from sparsemill.teachers.blocks import finished, kept
    from sparsemill.teachers.cache import load_embeddings
    from sparsemill.teachers.open_scorer import open_scorer
    from sparsemill.teachers.score import ROW_GROUP, EmbeddingScorer, Scorer, read_candidates, score_candidates
    from sparsemill.training.texts import open_texts

    collection, spec = job.input("collection"), job.spec
    query_ids = [query.id for query in read_queries(collection)]
    document_ids = [document.id for document in read_corpus(collection)]
    pairs = read_candidates(
        job.input("candidates"),
        shard=spec["shard"],
        shards=spec["shards"],
        query_ids=query_ids,
        document_ids=document_ids,
    )

    def texts() -> tuple[Sequence[str], Sequence[str]]:
        return (
            [query.text for query in read_queries(collection)],
            open_texts((document.contents for document in read_corpus(collection)), None),
        )

    scorer: Scorer
    if "scorer" not in spec:
        scorer, block, state = EmbeddingScorer(load_embeddings(job.inputs["embeddings"])), ROW_GROUP, None
    else:
        trained = job.input("model") if "model" in job.inputs else None
        state = job.own_state(**chosen_precision(spec["scorer"], device=spec["device"]))
        scorer, block, job.device = open_scorer(
            spec,
            pairs,
            query_ids=query_ids,
            document_ids=document_ids,
            texts=texts,
            trained=trained,
            label=job.key,
            finished=finished(state, "scores"),
        )
    score_candidates(
        pairs,
        scorer,
        job.out / "scores.parquet",
        query_ids=query_ids,
        document_ids=document_ids,
        block=block,
        kept=None if state is None else partial(kept, state),
    )
    job.facts["pairs"] = len(pairs.queries)


if __name__ == "__main__":
    sys.exit(main("score_teacher", run, doc=__doc__))
