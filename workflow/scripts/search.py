"""Search an index with the queries of a split and write the run."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    from sparsemill.data.collection import read_queries
    from sparsemill.retrieval.clusters import connection_of
    from sparsemill.retrieval.ir_metadata import write_sidecar
    from sparsemill.retrieval.queries import open_job_queries
    from sparsemill.retrieval.retriever import open_search, retrieve_each
    from sparsemill.retrieval.sidecar import write_described_run

    spec = job.spec
    options = {key: spec[key] for key in ("k1", "b", "analyzer", "fields", "two_phase") if key in spec}
    search = open_search(
        spec["engine"],
        job.input("index"),
        **options,
        queries=open_job_queries(job),
        seismic=spec.get("seismic"),
        threads=job.threads,
        cluster={"spec": spec["cluster"], "connection": connection_of(job.facts)} if "cluster" in spec else None,
    )
    queries = read_queries(job.input("collection"), split=spec["split"])
    drop = {"drop": True, "keep": False}[spec["self_hits"]]
    found = retrieve_each(search, queries, depth=spec["depth"], drop_self_hits=drop)
    job.describe = write_sidecar
    job.facts.update(write_described_run(job.out, found, spec))


if __name__ == "__main__":
    sys.exit(main("search", run, doc=__doc__))
