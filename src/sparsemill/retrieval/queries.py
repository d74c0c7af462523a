"""The query side of a trained retriever, whichever it is: a table that is looked up, or an encoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sparsemill.job import Job
from sparsemill.retrieval.query_encoder import QueryEncoder


class Queries(Protocol):
    """Turns query texts into weighted tokens."""

    def encode(self, texts: Sequence[str]) -> Any:
        """CSR float32 [texts, vocabulary]; an empty text gives an empty row."""


def open_queries(model: Path, spec: Mapping[str, Any], *, idf: Path | None = None, threads: int = 1) -> Queries:
    """Open the query side of a model's folder; torch is loaded only if queries go through an encoder.

    Args:
        model: what training wrote.
        spec: `query_length`, and `encoder` where queries go through one: `device`, `precision`, `tokens` and `prune`,
            see `sparsemill.models.query_side.EncodedQueries`; of a released checkpoint's table `special_tokens`.
        idf: `idf.json` whose weights replace those of a table.
        threads: of torch.

    Raises:
        UserError: a file is missing, or belongs to another model.
    """
    if "encoder" not in spec:
        special_tokens = spec.get("special_tokens", "zero")
        return QueryEncoder(model, query_length=spec["query_length"], idf=idf, special_tokens=special_tokens)
    from sparsemill.device import set_torch_threads
    from sparsemill.models.query_side import EncodedQueries

    set_torch_threads(threads)
    return EncodedQueries(model, query_length=spec["query_length"], **spec["encoder"])


def open_job_queries(job: Job, *, threads: int | None = None) -> Queries | None:
    """The query side of the job's input `model` (with `idf`, if given); None without a model.

    Args:
        job: its spec is that of `open_queries`.
        threads: of torch (None: the job's).
    """
    if "model" not in job.inputs:
        return None
    idf = job.input("idf") / "idf.json" if "idf" in job.inputs else None
    return open_queries(job.input("model"), job.spec, idf=idf, threads=threads or job.threads)
