"""Latency and throughput of a retriever, and of BM25 beside it, as clients of a server on this machine see them."""

import logging
import sys

from sparsemill.job import Job, main

logger = logging.getLogger("measure_serving")


def run(job: Job) -> None:
    """Write `serving.json`: ratios first."""
    from sparsemill.data.collection import read_queries
    from sparsemill.files import write_json
    from sparsemill.retrieval.described import describe_baselines, describe_system
    from sparsemill.retrieval.latency import spread
    from sparsemill.serving.measure import Load, available_cores, measure, report, share_cores

    spec = job.spec
    baselines = dict(describe_baselines(job))
    queries = read_queries(job.input("collection"), split=spec["split"])
    texts = [query.text for query in spread(queries, most=spec["queries"])]
    cores = share_cores(available_cores())
    searches = {"system": describe_system(job), **{f"bm25 {name}": one for name, one in baselines.items()}}
    found = measure(searches, texts, k=spec["k"], load=Load(**spec["load"]), cores=cores)
    measured = report(found, "system", {name: f"bm25 {name}" for name in baselines}, engine=spec["engine"])
    where = {"server_cores": len(cores.server), "client_cores": len(cores.client)}
    logger.info("server on cores %s, client on cores %s", cores.server, cores.client)
    write_json(job.out / "serving.json", {**measured, "queries": len(texts), "k": spec["k"], **where})
    job.facts.update(measured | where)


if __name__ == "__main__":
    sys.exit(main("measure_serving", run, doc=__doc__))
