"""Values of metrics, as MLflow keeps them."""

from typing import Any, NamedTuple

from sparsemill.errors import UserError
from sparsemill.tracking.names import clip, metric_name


class Point(NamedTuple):
    """One value of a metric; `time` in milliseconds since the epoch."""

    name: str
    value: float
    time: int
    step: int


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def record_points(record: dict[str, Any], *, end: int | None = None) -> list[Point]:
    """A line of `metrics.jsonl` as points: {"step", "time" (seconds), metric: number ...}.

    Args:
        record: the line.
        end: milliseconds at which the training ended, for a record without `time`: cross-encoders once wrote none.

    Raises:
        UserError: `step` is missing, or `time` without an `end`, or a value is not a number.
    """
    try:
        step = int(record["step"])
        time = end if end is not None and "time" not in record else round(float(record["time"]) * 1000)
        values = {name: value for name, value in record.items() if name not in ("step", "time") and value is not None}
        return [Point(metric_name(name), float(value), time, step) for name, value in values.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"metrics.jsonl: bad record {clip(str(record), 80)}: {error!r}") from None
