"""A connection to OpenSearch: credentials from the environment, retries with back-off, errors in one line."""

import logging
import os
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from sparsemill.errors import UserError
from sparsemill.trust import is_private, trusted

RETRIED = (429, 502, 503, 504)
"""Answers after which a request is sent again: too many of them, or a node or proxy that is not there or too slow."""

_CONNECTIONS = 128
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


def _credentials(prefix: str, address: str) -> tuple[str, str] | None:
    names = (f"{prefix}_USER", f"{prefix}_PASSWORD")
    user, password = (os.environ.get(name, "") for name in names)
    if not user and not password:
        return None
    if not user or not password:
        raise UserError(f"{address}: of {names[0]} and {names[1]} only one is set in the environment; set both or none")
    if not is_private(address):
        raise UserError(f"{address}: a password is sent over https only; change the address, or unset {names[1]}")
    return user, password


def waits(retries: int) -> list[float]:
    """Seconds before each further try: doubling from half a second, at most half a minute."""
    return [min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) for number in range(retries)]


def reason(error: Any) -> str:
    """What an answer says went wrong, in one line."""
    info = error.info if isinstance(getattr(error, "info", None), dict) else {}
    details = info.get("error", {})
    told = details.get("reason") if isinstance(details, dict) else details
    causes = details.get("root_cause") if isinstance(details, dict) else None
    first = causes[0].get("reason") if causes else None
    return " ".join(str(first or told or error.error).split())[:300]


class Connection:
    """A connection to one cluster.

    Args:
        settings: `address`, `verify`, `ca_file`, `credentials`, `timeout` and `retries`, as in the config.

    Attributes:
        address: of the cluster.
        url: where requests go: the address with its port.
        retries: further tries after the answers in `RETRIED`.
        trust: `verify` and `ca_file`, of those settings.

    Raises:
        UserError: the package is missing, credentials are incomplete, `ca_file` holds no certificates, or nobody
            answers.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        try:
            import opensearchpy
        except ModuleNotFoundError:
            raise UserError("opensearch-py is not installed; run `pip install 'sparsemill[opensearch]'`") from None
        # Everything that it logs as an error is raised as well.
        logging.getLogger("opensearch").setLevel(logging.CRITICAL)
        self.address: str = settings["address"]
        self.retries: int = settings["retries"]
        self.trust: dict[str, Any] = {key: settings[key] for key in ("verify", "ca_file")}
        self._login = _credentials(settings["credentials"], self.address)
        secure = self.address.startswith("https")
        if secure and settings["verify"] and settings["ca_file"] is not None:
            trusted(settings["ca_file"])
        self._errors = opensearchpy.exceptions
        options = {"verify_certs": settings["verify"], "ssl_show_warn": False, "ca_certs": settings["ca_file"]}
        self._client = opensearchpy.OpenSearch(
            hosts=[self.address],
            # Its own `http_auth` takes Latin-1 alone; OpenSearch reads UTF-8.
            headers=self.headers(),
            timeout=settings["timeout"],
            pool_maxsize=_CONNECTIONS,
            max_retries=0,
            **(options if secure else {}),
        )
        node = self._client.transport.get_connection()
        self.url: str = node.host + node.url_prefix
        self.call(lambda client: client.info())

    def headers(self) -> dict[str, str]:
        """What a request needs to be let in."""
        if self._login is None:
            return {}
        return {"Authorization": "Basic " + b64encode(":".join(self._login).encode()).decode()}

    def call(self, request: Callable[[Any], Any], *, ignore: tuple[int, ...] = ()) -> Any:
        """The answer to a request, tried again after the answers in `RETRIED`.

        Args:
            request: asks an `opensearchpy.OpenSearch`.
            ignore: statuses that give None instead of an error.

        Raises:
            UserError: nobody answers, or the answer is an error.
        """
        for wait in [*waits(self.retries), None]:
            try:
                return request(self._client)
            except self._errors.ConnectionError as error:
                raise self._unreachable(error) from None
            except self._errors.TransportError as error:
                if error.status_code in ignore:
                    return None
                if error.status_code not in RETRIED or wait is None:
                    raise UserError(f"{self.address}: answered {error.status_code}: {reason(error)}") from None
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _unreachable(self, error: Any) -> UserError:
        if isinstance(error, self._errors.ConnectionTimeout):
            return UserError(f"{self.address}: no answer in time; raise the engine's `timeout`, or see to the cluster")
        if isinstance(error, self._errors.SSLError):
            return UserError(
                f"{self.address}: its certificate is not trusted; set the engine's `ca_file` "
                f"({' '.join(str(error.info).split())[:200]})"
            )
        return UserError(f"{self.address}: no OpenSearch answers there; start it, or correct the engine's `address`")
