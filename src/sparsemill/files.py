"""Canonical JSON, hashes and atomic writes."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError


def _plain(value: Any) -> Any:
    """Numbers that are equal become the same text: 1.0 is written as 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, the same for `1` and `1.0` and for reordered keys."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def text_hash(text: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        UserError: the file is missing, not JSON, or not UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: JSON that cannot be read: {error}") from None


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a text file atomically: beside its place, flushed to the disk, then renamed.

    Args:
        path: its folder is made where there is none.
        text: the whole, or parts of it that are read once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def visible_files(folder: Path, *patterns: str) -> list[Path]:
    """Files of a folder by name, sorted, but hidden ones: macOS leaves `._test.tsv` beside `test.tsv`."""
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if not path.name.startswith("."))


def sync_tree(folder: Path) -> None:
    """Flush every file of a folder to the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        UserError: the system does not allow it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from None


def _temporary_folder(target: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise UserError(f"{target.parent}: cannot be written to: {error.strerror}") from None


def _is_locked(folder: Path) -> bool:
    """Whether a living process holds the folder; where the file system knows no locks, none does."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder until the block, or the process, ends."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; what was there is moved aside first, so that no moment shows a part of it."""
    if not target.exists():
        folder.replace(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        try:
            target.replace(old)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # A folder of a container's image, which cannot be moved.
            shutil.rmtree(target)
            folder.replace(target)
            return
        try:
            folder.replace(target)
        finally:
            if not target.exists():
                old.replace(target)
    finally:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; on success it replaces `target` whole.

    On an error `target` is left as it was and the temporary folder is removed, as is what a killed process left. Where
    `target` is a link, the folder that it leads to is replaced.

    Raises:
        UserError: another process is writing `target`, it is no folder, or the folder above cannot be written to.
    """
    target = target.resolve() if target.is_symlink() else target
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is no folder; move it away")
    make_folder(target.parent)
    # The eight characters of mkdtemp and no more: `.a.*` would match what another process is writing for `a.b`.
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.????????"):
        if _is_locked(leftover):
            raise UserError(f"{target}: another process is writing it, in {leftover.name}; wait for it, or end it")
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = _temporary_folder(target)
    try:
        with _locked(temporary):
            yield temporary
            sync_tree(temporary)
            temporary.chmod(0o755)
            _put(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
