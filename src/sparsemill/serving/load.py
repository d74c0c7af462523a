"""A closed-loop load generator: a number of clients, each with one request on its way, until enough were answered.

It runs as a process of its own, knows nothing of engines, and can talk to any HTTP server, a cluster included.
"""

import asyncio
import gc
import itertools
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import aiohttp

from sparsemill.errors import UserError
from sparsemill.serving.child import Message, Parent
from sparsemill.trust import trusted


class Target(NamedTuple):
    """What is asked.

    Attributes:
        urls: where to POST; clients are dealt out to them in turn, and stay there.
        bodies: of the requests, taken in turn.
        headers: of every request, beside `Content-Type: application/json`.
        repeatable: the same request must always get the same bytes back.
        ca_file: certificates to trust (None: those of the system).
        verify: check the server's certificate.
    """

    urls: Sequence[str]
    bodies: Sequence[bytes]
    headers: Mapping[str, str] = {}
    repeatable: bool = True
    ca_file: str | None = None
    verify: bool = True


class Burst(NamedTuple):
    """How much is asked at once.

    Attributes:
        clients: requests on their way at any time.
        requests: ends when so many were sent ...
        seconds: ... or after so long, whichever is first.
        warmup: requests before, which are not counted; one of each client at least, which opens its connection.
        timeout: seconds that one request may take.
    """

    clients: int
    requests: int
    seconds: float
    warmup: int = 0
    timeout: float = 30.0


class Served(NamedTuple):
    """What a burst measured: milliseconds of each request, in the order they ended, and seconds for all of them."""

    milliseconds: list[float]
    seconds: float


async def send(target: Target, burst: Burst) -> Served:
    """Send a burst of requests.

    Raises:
        UserError: a request failed or was refused, the same request got two different answers, or `ca_file` holds no
            certificates.
    """
    connector = aiohttp.TCPConnector(limit=burst.clients, ssl=_trusted(target))
    timeout = aiohttp.ClientTimeout(total=burst.timeout)
    headers = {"Content-Type": "application/json", **target.headers}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        seen: dict[int, bytes] = {}
        await _loop(session, target, burst._replace(requests=max(burst.warmup, burst.clients)), seen)
        collecting = gc.isenabled()
        gc.disable()
        try:
            return await _loop(session, target, burst, seen)
        finally:
            if collecting:
                gc.enable()


def _trusted(target: Target) -> ssl.SSLContext | bool:
    if not target.verify or target.ca_file is None:
        return target.verify
    return trusted(target.ca_file)


async def _loop(session: aiohttp.ClientSession, target: Target, burst: Burst, seen: dict[int, bytes]) -> Served:
    numbers = itertools.count()
    times: list[float] = []
    begin = time.perf_counter()
    end = begin + burst.seconds

    async def client(url: str) -> None:
        while (number := next(numbers)) < burst.requests and (start := time.perf_counter()) < end:
            place = number % len(target.bodies)
            body = await _post(session, url, target.bodies[place], burst.timeout)
            times.append((time.perf_counter() - start) * 1000)
            if target.repeatable and seen.setdefault(place, body) != body:
                raise UserError(f"{url}: two answers to one query: {seen[place]!r} and {body!r}")

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(burst.clients):
                group.create_task(client(target.urls[number % len(target.urls)]))
    except ExceptionGroup as errors:  # one client's failure has cancelled the others
        raise errors.exceptions[0] from None
    return Served(times, time.perf_counter() - begin)


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, timeout: float) -> bytes:
    try:
        async with session.post(url, data=body) as response:
            found = await response.read()
            status = response.status
    except TimeoutError:
        raise UserError(f"{url}: no answer within {timeout:g} s") from None
    except aiohttp.ClientError as error:
        raise UserError(f"{url}: {type(error).__name__}: {error}") from None
    if status != 200:
        raise UserError(f"{url}: status {status}: {found[:200].decode(errors='replace')}")
    return found


def _answer(targets: Mapping[str, Target], message: Message) -> Message:
    try:
        served = asyncio.run(send(targets[message["target"]], Burst(**message["burst"])))
    except UserError as error:
        return {"error": str(error)}
    return served._asdict()


def main(parent: Parent) -> None:
    """Take `targets` from the first message, then a `target` and a `burst` from each other one."""
    described = parent.hear()["targets"]
    targets = {
        name: Target(**{**target, "bodies": [body.encode() for body in target["bodies"]]})
        for name, target in described.items()
    }
    parent.answer({"targets": sorted(targets)})
    while True:
        parent.answer(_answer(targets, parent.hear()))


if __name__ == "__main__":
    main(Parent())
