"""How many pairs a training set's sources hold, and how many queries are left of them (Table 1 of 2411.04403)."""

from collections.abc import Sequence
from pathlib import Path

from sparsemill import manifest
from sparsemill.data.candidates import positives
from sparsemill.data.collection import read_qrels
from sparsemill.errors import UserError


def count_tuples(collection: Path, *, split: str) -> int:
    """Training tuples of a source: the rows of a file of pairs, of sets the pairs; of judgements, those above 0.

    Args:
        collection: its artefact.
        split: whose judgements are learned from.

    Raises:
        UserError: it was read from a file of pairs, and its manifest does not say how many tuples that has.
    """
    described = manifest.read(collection)
    if described["spec"]["kind"] != "pairs":
        return sum(map(len, positives(read_qrels(collection, split=split)).values()))
    if "tuples" not in described["facts"]:
        raise UserError(f"{collection}: does not say how many tuples its file has; delete the folder and run again")
    return int(described["facts"]["tuples"])


def count_pairs(collections: Sequence[Path], candidates: Sequence[Path], *, splits: Sequence[str]) -> dict[str, int]:
    """Counts of a training set, summed over its sets.

    Args:
        collections: artefact of each set's collection.
        candidates: artefact of each set's candidates, of the queries that filter and sampling have left.
        splits: of each set.

    Returns:
        `training tuples` and `queries left`.

    Raises:
        UserError: see `count_tuples`.
    """
    sets = zip(collections, splits, strict=True)
    return {
        "training tuples": sum(count_tuples(folder, split=split) for folder, split in sets),
        "queries left": sum(int(manifest.read(folder)["facts"]["queries"]) for folder in candidates),
    }
