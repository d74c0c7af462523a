"""Evaluate a run against the judgements of its collection."""

import logging
import sys

from sparsemill.job import Job, main

logger = logging.getLogger("evaluate_run")


def run(job: Job) -> None:
    """Write `measures.json` and `per_query.parquet`; every judged query counts, those not found as 0."""
    import pandas as pd

    from sparsemill.data.checks import check_counts, check_relevant
    from sparsemill.data.collection import read_qrels
    from sparsemill.evaluation.measures import MISSING, evaluate
    from sparsemill.files import write_json
    from sparsemill.retrieval.runs import RunFile

    spec, split = job.spec, job.spec["split"]
    qrels = read_qrels(job.input("collection"), split=split)
    counts = {"queries": {split: len({qrel.query_id for qrel in qrels})}, "judgements": {split: len(qrels)}}
    check_counts(counts, split=split, expected=spec.get("counts", {}))
    check_relevant(qrels, split=split, relevance=spec["relevance"])
    found = evaluate(
        RunFile(job.input("run") / "run.trec"),
        qrels,
        spec["measures"],
        relevance=spec["relevance"],
    )
    if found.missing:
        logger.warning(
            "%d of %d queries have no result and count 0: %s",
            len(found.missing),
            len(found.per_query),
            ", ".join(found.missing[:5]) + (", ..." if len(found.missing) > 5 else ""),
        )
    if found.unjudged:
        logger.warning("%d queries of the run have no judgement and count nothing", len(found.unjudged))
    # Told only where there are some: tables say so in a footnote.
    missing = {MISSING: len(found.missing)} if found.missing else {}
    write_json(job.out / "measures.json", {**found.means, **missing})
    rows = [(query, *item) for query, values in found.per_query.items() for item in values.items()]
    frame = pd.DataFrame(rows, columns=["query_id", "measure", "value"])
    frame.to_parquet(job.out / "per_query.parquet", index=False)
    job.facts.update(queries=len(found.per_query), missing=len(found.missing), unjudged=len(found.unjudged))


if __name__ == "__main__":
    sys.exit(main("evaluate_run", run, doc=__doc__))
