"""Processes that end with the one that started them: they hold a pipe from it, and its end is theirs.

Messages are lines of JSON: down the standard input, back up the standard output.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from sparsemill.errors import UserError

Message = dict[str, Any]

_PATIENCE = 10.0


class Parent:
    """In a child: the process that started it. When that is gone the child ends at once, whatever it is doing.

    What anything else prints goes to standard error.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        os._exit(0)

    def hear(self) -> Message:
        """Wait for the next message."""
        message: Message = json.loads(self._lines.get())
        return message

    def answer(self, message: Message) -> None:
        """Tell it something."""
        print(json.dumps(message), file=self._answers, flush=True)


class Child:
    """A module of this package running as a process of its own; a context manager that ends it.

    It has a session of its own, so that Ctrl-C reaches this process alone, which then ends the child.

    Args:
        module: dotted name, run with `python -m`.
        cores: numbers of the cores that it may use (empty: all that this process may).
    """

    def __init__(self, module: str, *, cores: Sequence[int] = ()) -> None:
        self._name = module.rpartition(".")[2]
        self._process = subprocess.Popen(  # noqa: S603 (this interpreter, a module of ours)
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, cores)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(self, message: Message, *, timeout: float) -> Message:
        """Send a message and wait for the answer.

        Args:
            message: anything that JSON holds.
            timeout: seconds.

        Raises:
            UserError: the child told an error, ended, or did not answer in time.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
            line = self._lines.get(timeout=timeout)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            raise UserError(f"the {self._name} did not answer within {timeout:.0f} s") from None
        if not line:
            raise UserError(f"the {self._name} ended with status {self._process.wait(_PATIENCE)} before it answered")
        answered: Message = json.loads(line)
        if "error" in answered:
            raise UserError(f"the {self._name}: {answered['error']}")
        return answered

    def close(self) -> None:
        """End the process and wait until it is gone."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
