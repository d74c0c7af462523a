"""Search an index with the queries of a split and write the run."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    from sparsemill.data.collection import read_queries
    from sparsemill.files import write_json
    from sparsemill.retrieval.retriever import open_search, retrieve
    from sparsemill.retrieval.runs import write_run

    spec = job.spec
    search = open_search(
        spec["engine"],
        job.input("index"),
        k1=spec.get("k1", 0.9),
        b=spec.get("b", 0.4),
        model=job.input("model") if "model" in job.inputs else None,
        idf=job.input("idf") / "idf.json" if "idf" in job.inputs else None,
        query_length=spec.get("query_length"),
    )
    queries = read_queries(job.input("collection"), split=spec["split"])
    drop = {"drop": True, "keep": False}[spec["self_hits"]]
    found = retrieve(search, queries, depth=spec["depth"], drop_self_hits=drop)
    write_run(job.out / "run.trec", found)
    job.facts |= {
        "system": spec["system"],
        "engine": spec["engine"],
        "depth": spec["depth"],
        "split": spec["split"],
        "queries": len(found),
        "queries_without_results": sum(not hits for hits in found.values()),
    }
    write_json(job.out / "run.json", {**job.facts, "collection": job.input("collection").name})


if __name__ == "__main__":
    sys.exit(main("search", run, doc=__doc__))
