"""Everything that was measured on one collection, on one page."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `collection.html`. Inputs: tidy."""
    import pandas as pd

    from sparsemill.files import write_text
    from sparsemill.tables.collection_page import page

    spec = job.spec
    frame = pd.read_parquet(job.input("tidy") / "results.parquet")
    facts = [f"A collection of kind {spec['kind']}. Effectiveness comes from the engine that feeds the tables."]
    text = page(frame, spec["collection"], engines=spec["engines"], labels=spec["labels"], facts=facts)
    write_text(job.out / "collection.html", text)
    job.facts["systems"] = int(frame[frame["collection"] == spec["collection"]]["system"].nunique())


if __name__ == "__main__":
    sys.exit(main("collection_page", run, doc=__doc__))
