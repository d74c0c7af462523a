"""Time a retriever against BM25, query by query in one process and thread, with the encoding of the query."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    from sparsemill.data.collection import read_queries
    from sparsemill.files import write_json
    from sparsemill.retrieval.latency import in_turns, report, spread
    from sparsemill.retrieval.queries import open_job_queries
    from sparsemill.retrieval.retriever import open_search

    spec = job.spec
    k, passes = spec["k"], spec["passes"]
    bm25 = open_search("bm25", job.input("bm25"), **spec["bm25"])
    system = open_search(
        "bm25" if spec["kind"] == "bm25" else spec["engine"],
        job.input("index"),
        **spec.get("own", spec["bm25"]),
        queries=open_job_queries(job, threads=1),
        two_phase=spec.get("two_phase"),
    )
    queries = read_queries(job.input("collection"), split=spec["split"])
    texts = [[query.text] for query in spread(queries, most=spec["queries"])]
    times = in_turns(
        [lambda number: system(texts[number], k), lambda number: bm25(texts[number], k)],
        queries=len(texts),
        passes=passes,
        warmup=spec.get("warmup", 1),
    )
    measured = report(*times, passes=passes, k=k)
    write_json(job.out / "latency.json", measured)
    job.facts.update(measured)


if __name__ == "__main__":
    sys.exit(main("measure_latency", run, doc=__doc__))
