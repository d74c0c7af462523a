"""Write a collection as Parquet: from packages' docstrings, a BEIR-style folder, a file of pairs, or ir_datasets."""

import sys
from pathlib import Path

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Read the source that `spec["kind"]` names, write it, and check the counts that the spec expects."""
    from sparsemill.data.checks import check_counts, check_relevant
    from sparsemill.data.collection import write_collection

    spec, split = job.spec, job.spec["split"]
    if spec["kind"] == "pydocs":
        from sparsemill.data.pydocs import read_pydocs

        limits = {name: spec[name] for name in ("max_documents", "max_queries")}
        source, job.facts["packages"] = read_pydocs(spec["packages"], split=split, **limits)
    elif spec["kind"] == "beir_folder":
        from sparsemill.data.beir import read_beir

        source = read_beir(Path(spec["path"]), split=split)
    elif spec["kind"] == "pairs":
        from sparsemill.data.pairs import Columns, read_pairs

        columns = Columns(spec["query"], spec["document"], spec["title"])
        limits = {name: spec[name] for name in ("lines", "max_queries")}
        source = read_pairs(Path(spec["path"]), kind=spec["format"], columns=columns, split=split, **limits)
    else:
        from sparsemill.data.irds import read_ir_datasets

        source = read_ir_datasets(spec["id"], split=split)
    check_relevant(source.qrels[split], split=split)
    job.facts.update(write_collection(job.out, *source[:4], places=source.places))
    check_counts(job.facts, split=split, expected=spec["counts"])


if __name__ == "__main__":
    sys.exit(main("fetch_collection", run, doc=__doc__))
