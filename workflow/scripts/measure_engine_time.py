"""Time a retriever in an engine, the encoding of its queries included, beside BM25, query by query in one thread.

Of an approximate engine, also how much of what the exact engine finds it finds.
"""

import sys
from typing import TYPE_CHECKING

from sparsemill.job import Job, main

if TYPE_CHECKING:
    from sparsemill.retrieval.retriever import Search


def _recalls(job: Job, search: "Search", texts: list[str]) -> dict[str, float]:
    """Measure -> recall at every depth, where there is an exact index to compare with."""
    from sparsemill.retrieval.described import describe_system, open_described
    from sparsemill.retrieval.recall import recall

    if "exact" not in job.inputs:
        return {}
    exact = open_described(describe_system(job) | {"engine": "exact", "index": str(job.input("exact")), "options": {}})
    engine, depths = job.spec["engine"], job.spec["depths"]
    return {f"{engine}:recall@{k}": recall(search(texts, k), exact(texts, k)) for k in depths}


def run(job: Job) -> None:
    """Write `engine_time.json`: ratios first."""
    from sparsemill.data.collection import read_queries
    from sparsemill.files import write_json
    from sparsemill.retrieval.described import describe_baselines, describe_system, open_described
    from sparsemill.retrieval.latency import in_turns, report_engine, spread

    spec = job.spec
    baselines = dict(describe_baselines(job))
    searches = [open_described(described) for described in (describe_system(job), *baselines.values())]
    queries = read_queries(job.input("collection"), split=spec["split"])
    texts = [[query.text] for query in spread(queries, most=spec["queries"])]
    times = {
        k: in_turns(
            [lambda number, search=search, k=k: search(texts[number], k) for search in searches],
            queries=len(texts),
            passes=spec["passes"],
            warmup=spec["warmup"],
        )
        for k in spec["depths"]
    }
    measured = report_engine(times, list(baselines), engine=spec["engine"])
    measured |= _recalls(job, searches[0], [text for [text] in texts])
    write_json(job.out / "engine_time.json", measured | {"queries": len(texts), "passes": spec["passes"]})
    job.facts.update(measured)


if __name__ == "__main__":
    sys.exit(main("measure_engine_time", run, doc=__doc__))
