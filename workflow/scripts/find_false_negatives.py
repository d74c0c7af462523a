"""Mark candidates that a teacher takes for relevant; training leaves them out."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Read the inputs `candidates` and `scores` (shards) and write `dropped.npy`, a mark for each row."""
    import numpy as np
    import pyarrow.parquet as pq

    from sparsemill.data.alignment import query_offsets, same_pairs
    from sparsemill.data.false_negatives import false_negatives
    from sparsemill.errors import UserError

    file = job.input("candidates") / "candidates.parquet"
    shards = [folder / "scores.parquet" for folder in job.inputs["scores"]]
    if not same_pairs([file], shards):
        raise UserError(f"{shards[0].parent}: scores other pairs than {file}; delete it and run again")
    scores = np.concatenate([pq.read_table(shard, columns=["score"])["score"].to_numpy() for shard in shards])
    positive = pq.read_table(file, columns=["positive"])["positive"].to_numpy()
    dropped = false_negatives(scores, positive, query_offsets(file), margin=job.spec["margin"])
    np.save(job.out / "dropped.npy", dropped)
    job.facts.update(candidates=len(dropped), dropped=int(dropped.sum()))


if __name__ == "__main__":
    sys.exit(main("find_false_negatives", run, doc=__doc__))
