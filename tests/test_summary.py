"""The text that ends a run."""

from pathlib import Path

import pytest

from sparsemill.files import write_json, write_text
from sparsemill.summary import main


def test_tables_verdicts_and_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(tmp_path / "tables" / "one" / "table.md", "| a |\n\np \\< 0.05, \\`k\\`, C:\\\\d\n")
    write_json(tmp_path / "expected" / "verdicts.json", {"verdicts": [{"verdict": "ok"}, {"verdict": "ok"}]})
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "| a |\n\np < 0.05, `k`, C:\\d" in told
    assert "Expected values: 2 ok" in told
    assert "report.html" not in told
    write_text(tmp_path / "report.html", "")
    assert main([str(tmp_path)]) == 0
    assert f"{tmp_path / 'report.html'}" in capsys.readouterr().out


def test_claims_are_told_and_tables_of_other_studies_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine", "older"):
        write_text(tmp_path / "tables" / name / "table.md", f"| {name} |\n")
    claims = [{"verdict": "ok"}, {"verdict": "fail"}, {"verdict": "ok"}]
    write_json(tmp_path / "expected" / "verdicts.json", {"verdicts": [], "claims": claims})
    write_json(tmp_path / "verified" / "equality.json", {"equal": True, "tables": ["r/tables/mine/table.md"]})
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "| mine |" in told
    assert "| older |" not in told
    assert "Claims: 1 fail, 2 ok" in told
    assert "Expected values" not in told


def test_nothing_made_yet_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: no tables yet; run `snakemake --cores all` first\n"
