"""A search server in a thread of this process, and requests to it."""

import asyncio
import contextlib
import json
import threading
import time
from typing import Any

from sparsemill.retrieval.runs import Hit
from sparsemill.serving import load
from sparsemill.serving.load import Burst, Target, send
from sparsemill.serving.server import HOST, Worker, serve


class Running:
    """A server in a thread of this process."""

    def __init__(self, openers: dict[str, Any]) -> None:
        self.worker = Worker(openers)
        self._loop = asyncio.new_event_loop()
        ports: list[int] = []
        ready = threading.Event()

        def told(port: int) -> None:
            ports.append(port)
            ready.set()

        self._task = self._loop.create_task(serve(self.worker, port=0, ready=told))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert ready.wait(10)
        self.port = ports[0]

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.port}/search/{name}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        self.worker.thread.shutdown()


def echo(texts: list[str], k: int) -> list[list[Hit]]:
    """Finds what it is asked for, after a moment that differs from query to query."""
    time.sleep(len(texts[0]) % 3 / 1000)
    if texts[0] == "broken":
        raise ZeroDivisionError("by zero")
    return [[Hit(text, float(len(text)))] * min(k, 2) if text else [] for text in texts]


def post(url: str, *bodies: bytes, clients: int = 1, requests: int | None = None) -> load.Served:
    burst = Burst(clients, requests if requests is not None else len(bodies), 10)
    return asyncio.run(send(Target([url], bodies), burst))


def query(text: str, k: int = 10) -> bytes:
    return json.dumps({"query": text, "k": k}).encode()
