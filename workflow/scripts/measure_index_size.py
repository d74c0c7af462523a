"""Measure the size of an engine's index."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `index_size.json`: megabytes (10^6 bytes) of the index's files, as its manifest counts them."""
    from sparsemill import manifest
    from sparsemill.files import write_json

    files = manifest.read(job.input("index"))["outputs"]
    size = sum(file["bytes"] for file in files.values())
    write_json(job.out / "index_size.json", {"index MB": size / 1e6})
    job.facts.update(bytes=size, files=len(files))


if __name__ == "__main__":
    sys.exit(main("measure_index_size", run, doc=__doc__))
