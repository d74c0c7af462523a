"""Progress lines in logs."""

import pytest

from sparsemill.progress import Progress, track


def test_progress_prints_the_last_line_only_when_quick(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(5), "label", total=5, unit="doc")) == [0, 1, 2, 3, 4]
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("label: 100%")
    assert "5/5" in line
    assert "doc" in line


def test_progress_prints_at_every_interval(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("label", 3, interval=0.0)
    for number in range(3):
        progress.advance(note=f"loss={number}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "1/3" in lines[0]
    assert "loss=2" in lines[2]
