"""Parallel coordinates of a sweep, on one page."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `parallel.html`. Inputs: tidy."""
    import pandas as pd

    from sparsemill.files import write_text
    from sparsemill.tables.groups import with_groups
    from sparsemill.tables.parallel_page import key_axis, measure_axis, page
    from sparsemill.tables.tidy import values_of

    spec, settings = job.spec, job.spec["settings"]
    frame = with_groups(pd.read_parquet(job.input("tidy") / "results.parquet"), spec.get("groups", {}))

    def mean(system: str, measure: str) -> float | None:
        values = values_of(frame, system, spec["collection"], measure, engines=spec["engines"])
        return sum(values) / len(values) if values else None

    keys = [key_axis(key, [point[key] for point in settings.values()]) for key in next(iter(settings.values()))]
    measures = [measure_axis(name, [mean(system, name) for system in settings]) for name in spec["measures"]]
    lead = (
        f"Means over seeds on {spec['collection']}; darker lines are better in {spec['measures'][0]}. Point at a line."
    )
    systems = {system: spec["labels"].get(system, system) for system in settings}
    write_text(job.out / "parallel.html", page(f"Sweep {spec['name']}", systems, keys, measures, lead=lead))
    job.facts["points"] = len(settings)


if __name__ == "__main__":
    sys.exit(main("sweep_page", run, doc=__doc__))
