"""Whom requests trust."""

import ssl

from sparsemill.errors import UserError


def trusted(ca_file: str) -> ssl.SSLContext:
    """A context that trusts the certificates of a file.

    Raises:
        UserError: the file is missing, or holds no certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UserError(f"{ca_file}: cannot be read as certificates: {error.strerror or error}") from None
