"""A search described by plain data, so that a job can open it, and so can a process that the job starts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsemill.job import Job
from sparsemill.retrieval.queries import open_queries
from sparsemill.retrieval.retriever import Search, open_search

Described = dict[str, Any]
"""`engine`, `index`, `options` (see `open_search`), and for what is no BM25 `model`, `idf` and `queries` (see
`open_queries`)."""


def open_described(described: Mapping[str, Any]) -> Search:
    """Open a search; an encoder of queries gets one thread.

    Raises:
        UserError: the engine is unknown, or a file is missing or belongs to another model.
    """
    queries = None
    if "model" in described:
        idf = Path(described["idf"]) if "idf" in described else None
        queries = open_queries(Path(described["model"]), described["queries"], idf=idf, threads=1)
    return open_search(described["engine"], Path(described["index"]), **described["options"], queries=queries)


def describe_system(job: Job) -> Described:
    """The system that a job measures: input `index`, and for what is no BM25 `model` and perhaps `idf`."""
    spec = job.spec
    described = {"index": str(job.input("index")), "options": spec["options"]}
    if spec["kind"] == "bm25":
        return described | {"engine": "bm25"}
    paths = {name: str(job.input(name)) for name in ("model", "idf") if name in job.inputs}
    if "idf" in paths:
        paths["idf"] = str(job.input("idf") / "idf.json")
    return described | paths | {"engine": spec["engine"], "queries": spec["query_side"]}


def describe_baselines(job: Job) -> Iterator[tuple[str, Described]]:
    """Name and search of each BM25 that a job compares with: input `baseline`, in the order of `baselines`."""
    folders = job.inputs.get("baseline", [])
    for (name, options), folder in zip(job.spec["baselines"].items(), folders, strict=True):
        yield name, {"engine": "bm25", "index": str(folder), "options": options}
