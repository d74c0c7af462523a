"""Starts milvus-lite, which one process at a time can have open for a database."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sparsemill.errors import UserError

_WAIT = 0.2


class _Reason(logging.Handler):
    """Keeps why milvus-lite did not start, which it only logs."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.error = record.exc_info[1] if record.exc_info else None


@contextmanager
def _reason() -> Iterator[_Reason]:
    teller, reason = logging.getLogger("milvus_lite.server_manager"), _Reason()
    before = teller.level, teller.propagate
    teller.setLevel(logging.ERROR)
    teller.propagate = False
    teller.addHandler(reason)
    try:
        yield reason
    finally:
        teller.removeHandler(reason)
        teller.level, teller.propagate = before


def start_embedded(address: str, *, timeout: float) -> None:
    """Start milvus-lite for a database, once no other process has it open.

    Args:
        address: path of the database.
        timeout: seconds to wait for another process.

    Raises:
        UserError: the package is missing, the database is broken, or another process keeps it open.
    """
    try:
        from milvus_lite.exceptions import DataDirLockedError
        from milvus_lite.server_manager import server_manager_instance
    except ModuleNotFoundError:
        raise UserError("milvus-lite is not installed; run `pip install 'sparsemill[milvus]'`") from None
    end = time.monotonic() + timeout
    with _reason() as reason:
        while server_manager_instance.start_and_get_uri(address) is None:
            if not isinstance(reason.error, DataDirLockedError):
                told = " ".join(str(reason.error).split())[:300]
                raise UserError(f"{address}: milvus-lite cannot open it: {told}")
            if time.monotonic() > end:
                raise UserError(
                    f"{address}: milvus-lite cannot open it after {timeout:g} s; does another process "
                    "have it open? Wait for that, or raise the engine's `timeout`"
                )
            time.sleep(_WAIT)
