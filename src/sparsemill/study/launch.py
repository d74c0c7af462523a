"""How many processes train together."""

from sparsemill.study.models import Training


def sharing(spec: Training, processes: int) -> int:
    """As many of the processes as can share every micro-batch evenly: 4 of 8 for 124 queries.

    All of them where their number changes the training (`gather: false`), or where no number will do; the training
    then says so.
    """
    if not spec.gather:
        return processes
    counts = range(processes, 0, -1)
    return next((count for count in counts if spec.queries_per_step % (count * spec.accumulation) == 0), processes)
