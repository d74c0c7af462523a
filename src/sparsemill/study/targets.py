"""Targets of the Snakefile that bring their own config, as if `--configfile` had named it."""

from collections.abc import Iterable
from pathlib import Path

from sparsemill.errors import UserError

PAPERS = {"paper_inference_free": "2411.04403", "paper_splade_pp": "2205.04733"}
"""Target -> arXiv id of the paper whose tables and figures it builds."""
DEMO = "tables_demo"
"""Builds the tables and figures of all papers at demo scale."""


def overlays(words: Iterable[str], scale: str, config: Path) -> list[Path]:
    """The overlays that the targets on a command line stand for, in the order in which they count.

    Args:
        words: the command line.
        scale: the chosen one.
        config: the `config/` folder.

    Raises:
        UserError: `tables_demo` with another scale than its own.
    """
    asked = set(words)
    papers = sorted(PAPERS.keys() & asked)
    if not papers and DEMO not in asked:
        return []
    if DEMO in asked and scale != "demo":
        raise UserError(f"{DEMO} is of scale demo, not {scale}; leave `scale` out, or name {' or '.join(PAPERS)}")
    found = [config / "overlays" / f"papers_{scale.replace('-', '_')}.yaml"]
    if len(papers) == 1 and DEMO not in asked:
        found.append(config / "targets" / f"{papers[0]}.yaml")
    return found
