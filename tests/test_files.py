"""Canonical JSON, hashes, atomic writes."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sparsemill.errors import UserError
from sparsemill.files import atomic_folder, canonical_json, file_hash, read_json, text_hash, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}),
        ({"x": [1, (2, 3)]}, {"x": (1.0, [2.0, 3])}),
        ({"deep": {"k": -0.0}}, {"deep": {"k": 0}}),
    ],
)
def test_equal_values_have_one_text(one: Any, other: Any) -> None:
    assert canonical_json(one) == canonical_json(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": "1"}), ({"a": True}, {"a": 1}), ([1, 2], [2, 1]), ({"a": None}, {}), (0.1, 0.2), (1.5, 1)],
)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    assert canonical_json(one) != canonical_json(other)


def test_canonical_json_by_hand() -> None:
    assert canonical_json({"b": [1.0, 0.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,0.5]}'
    assert canonical_json(2.0**60) == str(2.0**60)


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_hashes_are_sha256(tmp_path: Path) -> None:
    assert text_hash("abc") == hashlib.sha256(b"abc").hexdigest()[:16]
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert file_hash(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_json_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"b": "é", "a": [1, 0.5]})
    assert read_json(path) == {"a": [1, 0.5], "b": "é"}
    assert path.read_text(encoding="utf-8") == '{\n "a": [\n  1,\n  0.5\n ],\n "b": "é"\n}\n'
    assert path.stat().st_mode & 0o777 == 0o644


def test_unreadable_json_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{\n "a": 1,\n}')
    with pytest.raises(UserError, match=r"bad\.json:3: not JSON"):
        read_json(tmp_path / "bad.json")
    for odd in ('{"é": 1}'.encode("latin-1"), b"1" * 5000, b"[" * 100_000):
        (tmp_path / "odd.json").write_bytes(odd)
        with pytest.raises(UserError, match=r"odd\.json: JSON that cannot be read"):
            read_json(tmp_path / "odd.json")


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"new": float("inf")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert json.loads(path.read_text()) == {"old": 1}
    assert names(tmp_path) == ["file.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    for name in ("first", "second"):
        with atomic_folder(target) as folder:
            assert folder.parent == target.parent
            (folder / name).write_text(name)
    assert names(target) == ["second"]
    assert names(target.parent) == ["out"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_the_old_one_alone(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out"
    with atomic_folder(target) as folder:
        (folder / "file").write_text("old")

    def fail() -> None:
        with atomic_folder(target) as folder:
            (folder / "file").write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_what_a_killed_process_left_is_removed_but_not_what_others_write(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a.b") as other:
        (tmp_path / ".a.killed00").mkdir()
        with atomic_folder(tmp_path / "a"):
            assert not (tmp_path / ".a.killed00").exists()
        assert other.exists()
    assert names(tmp_path) == ["a", "a.b"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_folder(target) as folder:
        (folder / "file").write_text("first")
        child = os.fork()
        if child == 0:
            try:
                with atomic_folder(target):
                    os._exit(1)
            except UserError as error:
                os._exit(0 if "another process is writing it" in str(error) else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (target / "file").read_text() == "first"
    with atomic_folder(target) as folder:
        (folder / "file").write_text("second")
    assert (target / "file").read_text() == "second"
    assert names(tmp_path) == ["out"]


def test_no_moment_shows_a_part_of_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, seen = tmp_path / "out", []
    with atomic_folder(target) as folder:
        (folder / "old").write_text("old")
    remove = shutil.rmtree

    def watched(path: Path, **options: Any) -> None:
        seen.append(names(target))
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    with atomic_folder(target) as folder:
        (folder / "new").write_text("new")
        assert names(target) == ["old"]
    assert seen
    assert all(found == ["new"] for found in seen)
    assert names(tmp_path) == ["out"]


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    with atomic_folder(target) as folder:
        (folder / "old").write_text("old")
    replace = Path.replace

    def interrupted(self: Path, other: Path) -> Path:
        if other == target and not (self / "old").exists():
            raise KeyboardInterrupt
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as folder:
        (folder / "new").write_text("new")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_moved_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those that came with a container's image, below the layer that is written to."""
    target = tmp_path / "out"
    with atomic_folder(target) as folder:
        (folder / "old").write_text("old")
    replace = Path.replace

    def refuse(self: Path, other: Path) -> Path:
        if self == target:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", refuse)
    with atomic_folder(target) as folder:
        (folder / "new").write_text("new")
    assert names(target) == ["new"]
    assert names(tmp_path) == ["out"]


def test_a_folder_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "disk" / "big").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "big")
    with atomic_folder(tmp_path / "out") as folder:
        assert folder.parent == tmp_path / "disk"
        (folder / "file").write_text("new")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk" / "big") == ["file"]
    assert names(tmp_path / "disk") == ["big"]


def test_a_file_in_the_folders_place_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="is no folder"), atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"
