"""Whom requests trust, and where a password may be sent."""

import ssl
from urllib.parse import urlsplit

from sparsemill.errors import UserError

_LOCAL = ("localhost", "127.0.0.1")


def trusted(ca_file: str) -> ssl.SSLContext:
    """A context that trusts the certificates of a file.

    Raises:
        UserError: the file is missing, or holds no certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UserError(f"{ca_file}: cannot be read as certificates: {error.strerror or error}") from None


def is_private(address: str) -> bool:
    """Whether nobody on the way can read what is sent to an address: it is https, or this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in _LOCAL
