"""Targets of the Snakefile that bring their own config, as if `--configfile` had named it."""

from collections.abc import Iterable
from pathlib import Path

PAPERS = {"paper_inference_free": "2411.04403", "paper_splade_pp": "2205.04733"}
"""Target -> arXiv id of the paper whose tables and figures it builds."""
DEMO = "tables_demo"
"""Builds the tables and figures of all papers at demo scale."""


def overlays(words: Iterable[str], scale: str, config: Path) -> list[Path]:
    """The overlays that the targets on a command line stand for, in the order in which they count.

    Args:
        words: the command line.
        scale: the chosen one; `tables_demo` has its own.
        config: the `config/` folder.
    """
    asked = set(words)
    papers = sorted(PAPERS.keys() & asked)
    if not papers and DEMO not in asked:
        return []
    chosen = "demo" if DEMO in asked else scale
    found = [config / "overlays" / f"papers_{chosen.replace('-', '_')}.yaml"]
    if len(papers) == 1 and DEMO not in asked:
        found.append(config / "targets" / f"{papers[0]}.yaml")
    return found
