"""Turn a miner's run into training candidates: consistency filter, top documents, judged positives."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Read the inputs `collection` and `run` (of the training queries) and write `candidates.parquet`."""
    from sparsemill.data.candidates import candidates, choose_queries, consistent_queries, positives, write_candidates
    from sparsemill.data.collection import read_qrels
    from sparsemill.errors import UserError
    from sparsemill.retrieval.runs import read_run

    spec = job.spec
    qrels = read_qrels(job.input("collection"), split=spec["split"])
    relevant = positives(qrels)
    if not relevant:
        raise UserError(f"{job.input('collection')}: no query of split {spec['split']!r} is judged above 0")
    hits = read_run(job.input("run") / "run.trec")
    kept = consistent_queries(hits, relevant, first=spec["filter_top"])
    chosen = sorted(choose_queries(kept, most=spec["max_queries"], seed=spec["seed"]))
    mined = {query: candidates(hits.get(query, ()), relevant[query], top=spec["top"]) for query in chosen}
    write_candidates(job.out, mined)
    job.facts["queries_judged"] = len({qrel.query_id for qrel in qrels})
    job.facts["queries_before_filter"] = len(relevant)
    job.facts["queries_after_filter"] = len(kept)
    job.facts["queries"] = len(mined)
    job.facts["candidates"] = sum(map(len, mined.values()))


if __name__ == "__main__":
    sys.exit(main("mine_candidates", run, doc=__doc__))
