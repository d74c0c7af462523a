"""Turn miners' runs into training candidates: consistency filter, top documents or windows, judged positives."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Read the inputs `collection` and `run` (one or more, of the training queries); write `candidates.parquet`."""
    from sparsemill.data.candidates import (
        choose_queries,
        consistent_queries,
        listed_positives,
        mine,
        positives,
        write_candidates,
    )
    from sparsemill.data.collection import read_qrels
    from sparsemill.errors import UserError
    from sparsemill.retrieval.runs import RunFile

    spec = job.spec
    qrels = read_qrels(job.input("collection"), split=spec["split"])
    relevant = positives(qrels)
    if not relevant:
        raise UserError(f"{job.input('collection')}: no query of split {spec['split']!r} is judged above 0")
    runs = [RunFile(folder / "run.trec") for folder in job.inputs["run"]]
    if spec.get("scored_only"):
        relevant, left = listed_positives(runs[0], relevant)
        job.facts["positives_without_score"] = left
    kept = consistent_queries(runs, relevant, first=spec["filter_top"])
    chosen = sorted(choose_queries(kept, most=spec["max_queries"], seed=spec["seed"]))
    windows = [(window["top"], window["keep"]) for window in spec.get("windows", [])]
    mined = mine(
        runs, {query: relevant[query] for query in chosen}, top=spec.get("top"), windows=windows, seed=spec["seed"]
    )
    job.facts["queries_judged"] = len({qrel.query_id for qrel in qrels})
    job.facts["queries_before_filter"] = len(relevant)
    job.facts["queries_after_filter"] = len(kept)
    job.facts["queries"] = len(chosen)
    job.facts["candidates"] = write_candidates(job.out, mined)


if __name__ == "__main__":
    sys.exit(main("mine_candidates", run, doc=__doc__))
