"""Text files by lines, each with its place, for messages that say where a mistake is."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from sparsemill.errors import UserError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def placed_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not blank, each with its place as file:line.

    Args:
        path: UTF-8; `.gz` is unpacked while it is read.

    Raises:
        UserError: a line is not UTF-8, or the gzip file is broken.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                # Decoded line by line: a decoder of the whole file reads ahead, and its error names no line.
                text = line.removeprefix(_BYTE_ORDER_MARK).decode() if number == 1 else line.decode()
                if text.strip():
                    yield f"{path}:{number}", text.rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}:{number}: not UTF-8; convert the file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}:{number + 1}: broken gzip file: {error}; fetch it again") from None


def parse_json(line: str, place: str) -> Any:
    """The JSON value of a line.

    Raises:
        UserError: it is none, or one that Python does not read: a number of thousands of digits, or endless nesting.
    """
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: JSON that cannot be read: {error}") from None


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb"))
