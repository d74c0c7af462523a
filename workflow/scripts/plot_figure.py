"""Draw a figure: effectiveness against cost or a swept key, or activation against FLOPS penalty by token."""

import sys
from typing import Any

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `figure.svg` and `figure.png`."""
    from sparsemill.study.models import Figure
    from sparsemill.tables.plot_style import save

    figure = Figure(**job.spec["figure"])
    draw = {"tradeoff": draw_tradeoff, "activation": draw_activation, "sweep": draw_sweep}
    save(draw[figure.kind](job, figure), job.out)
    job.facts["systems"] = len(figure.systems)


def draw_tradeoff(job: Job, figure: Any) -> Any:
    """From the input `tidy`."""
    import pandas as pd

    from sparsemill.tables.groups import with_groups
    from sparsemill.tables.plots import tradeoff
    from sparsemill.tables.published_curves import PublishedCurve

    frame = with_groups(pd.read_parquet(job.input("tidy") / "results.parquet"), job.spec.get("groups", {}))
    published = [PublishedCurve.of(curve) for curve in job.spec.get("published", [])]
    names = {name: job.spec[name] for name in ("engines", "labels", "bases")}
    return tradeoff(figure, frame, **names, published=published)


def draw_sweep(job: Job, figure: Any) -> Any:
    """From the input `tidy`."""
    import pandas as pd

    from sparsemill.tables.groups import with_groups
    from sparsemill.tables.sweep_plot import lines, sweep_plot

    frame = with_groups(pd.read_parquet(job.input("tidy") / "results.parquet"), job.spec.get("groups", {}))
    return sweep_plot(figure, lines(figure, frame, engines=job.spec["engines"], settings=job.spec["settings"]))


def draw_activation(job: Job, figure: Any) -> Any:
    """From the inputs `vectors_<i>` (shards) and `model_<i>`, one pair for each of the figure's systems."""
    from sparsemill.data.tokenizer import read_vocabulary
    from sparsemill.tables.activation import sample_documents, token_use
    from sparsemill.tables.activation_plot import activation

    panels = []
    for number, system in enumerate(figure.systems):
        batch = sample_documents(job.inputs[f"vectors_{number}"])
        vocabulary = read_vocabulary(job.input(f"model_{number}"))
        panels.append((job.spec["labels"].get(system, system), token_use(batch, vocabulary)))
        job.facts["documents"] = batch.shape[0]
    return activation(panels)


if __name__ == "__main__":
    sys.exit(main("plot_figure", run, doc=__doc__))
