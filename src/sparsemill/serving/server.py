"""A thin HTTP server around retrieval engines, for measuring on loopback: query texts in, ids and scores out.

`POST /search/NAME` with `{"query": TEXT, "k": N}` answers `{"ids": [...], "scores": [...]}`. Queries are encoded here,
be it with a table or an encoder, as OpenSearch's `neural_sparse` does with an analyzer. `/search/nothing` goes all the
way to the worker and touches no index: the fixed cost of a request.
"""

import asyncio
import errno
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from aiohttp import web

from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit
from sparsemill.serving.child import Parent

HOST = "127.0.0.1"
NOTHING = "nothing"
_LARGEST_BODY = 2**16
_LARGEST_K = 10_000
_WARM_K = 10

Search = Callable[[list[str], int], list[list[Hit]]]


class Asked(NamedTuple):
    """A request: a query's text and how many documents."""

    query: str
    k: int


def read_request(body: bytes) -> Asked:
    """Read the body of a request.

    Raises:
        ValueError: it is not what the server takes; the message says why.
    """
    try:
        found = json.loads(body)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("query"), str):
        raise ValueError('expected {"query": TEXT, "k": N}')
    k = found.get("k", 10)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= _LARGEST_K:
        raise ValueError(f"k is {k!r}, not a number from 1 to {_LARGEST_K}")
    return Asked(found["query"], k)


def write_reply(hits: list[Hit]) -> bytes:
    """The body of an answer."""
    return json.dumps({"ids": [hit.doc_id for hit in hits], "scores": [hit.score for hit in hits]}).encode()


class Worker:
    """The one thread that searches: calls into Java through pyjnius are not safe in two threads, not even on different
    objects, because a class keeps one bound method for all of them. More cores take more servers.

    Args:
        openers: name -> function that opens a search.
        warmup: query texts that are searched before the first request.

    Raises:
        UserError: an index or a model cannot be opened.
    """

    def __init__(self, openers: Mapping[str, Callable[[], Search]], *, warmup: Sequence[str] = ()) -> None:
        self.thread = ThreadPoolExecutor(1)
        self._searches = self.thread.submit(_open, openers, warmup).result()
        self.names = {*self._searches, NOTHING}

    def search(self, name: str, asked: Asked) -> bytes:
        """Search; to be called in the worker's thread."""
        hits = [] if name == NOTHING else self._searches[name]([asked.query], asked.k)[0]
        return write_reply(hits)


def _open(openers: Mapping[str, Callable[[], Search]], warmup: Sequence[str]) -> dict[str, Search]:
    searches = {name: opener() for name, opener in openers.items()}
    for search in searches.values():
        for text in warmup:
            search([text], _WARM_K)
    return searches


def _failure(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


def application(worker: Worker) -> web.Application:
    """The routes."""

    async def search(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in worker.names:
            return _failure(404, f"no index {name!r}")
        try:
            asked = read_request(await request.read())
        except ValueError as error:
            return _failure(400, str(error))
        loop = asyncio.get_running_loop()
        try:
            body = await loop.run_in_executor(worker.thread, worker.search, name, asked)
        except Exception as error:
            return _failure(500, f"{type(error).__name__}: {error}")
        return web.Response(body=body, content_type="application/json")

    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_post("/search/{name}", search)
    return app


async def serve(worker: Worker, *, port: int, ready: Callable[[int], None]) -> None:
    """Serve until cancelled.

    Args:
        worker: what searches.
        port: of 127.0.0.1; 0: any that is free.
        ready: called with the port once requests are taken.

    Raises:
        UserError: the port is in use.
    """
    runner = web.AppRunner(application(worker), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {HOST} is in use; take another one, or 0 for any that is free") from None
        raise
    ready(runner.addresses[0][1])
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _opener(described: Mapping[str, Any]) -> Callable[[], Search]:
    from sparsemill.retrieval.described import open_described

    return lambda: open_described(described)


def main(parent: Parent) -> None:
    """Open what the parent describes and serve it: `searches`, `warmup`, `port`."""
    settings = parent.hear()
    openers = {name: _opener(described) for name, described in settings["searches"].items()}
    try:
        worker = Worker(openers, warmup=settings["warmup"])
        asyncio.run(serve(worker, port=settings["port"], ready=lambda port: parent.answer({"port": port})))
    except UserError as error:
        parent.answer({"error": str(error)})


if __name__ == "__main__":
    main(Parent())
