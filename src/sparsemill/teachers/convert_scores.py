"""Convert the pickled scores of sentence-transformers/msmarco-hard-negatives to Parquet, once, without running them.

    python -m sparsemill.teachers.convert_scores cross-encoder-ms-marco-MiniLM-L-6-v2-scores.pkl.gz scores.parquet

A pickle is a program. This is the one place that reads one, and it admits nothing but dictionaries, integers, floats
and strings: every global, that is every class and function that a pickle can name, is refused. All of it is in memory
meanwhile, about 20 GB for the 160 million scores of MS MARCO.
"""

import argparse
import gzip
import pickle
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.errors import UserError

SCHEMA = pa.schema([("query_id", pa.string()), ("doc_ids", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))])
QUERIES = 4096
"""Queries in one row group."""


class _NoGlobals(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise UserError(f"names {module_name}.{global_name}; only dictionaries, numbers and strings are admitted")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise UserError(f"names a persistent object {pid!r}; only dictionaries, numbers and strings are admitted")


def load_scores(path: Path) -> dict[Any, dict[Any, float]]:
    """Read query id -> document id -> score.

    Raises:
        UserError: the file is no such pickle, in one line.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            scores = _NoGlobals(file).load()
    except UserError as error:
        raise UserError(f"{path}: refused: it {error}") from None
    except Exception as error:  # a broken pickle raises whatever it likes
        raise UserError(f"{path}: no pickle of scores: {' '.join(str(error).split())}") from None
    _check(path, scores)
    checked: dict[Any, dict[Any, float]] = scores
    return checked


def _check(path: Path, scores: Any) -> None:
    expected = "expected a dictionary of query id -> document id -> score"
    if type(scores) is not dict or not scores:
        raise UserError(f"{path}: {expected}, found {type(scores).__name__} of {len(scores) if scores else 0}")
    for query, found in scores.items():
        if type(query) not in (int, str) or type(found) is not dict:
            raise UserError(f"{path}: {expected}, found {type(query).__name__} -> {type(found).__name__}")
        for document, score in found.items():
            if type(document) not in (int, str) or type(score) not in (int, float):
                raise UserError(f"{path}: query {query}: {expected}, found {type(score).__name__}")


def _rows(scores: dict[Any, dict[Any, float]]) -> Iterator[dict[str, Any]]:
    for query, found in scores.items():
        yield {
            "query_id": str(query),
            "doc_ids": [str(one) for one in found],
            "scores": list(map(float, found.values())),
        }


def convert_scores(source: Path, target: Path) -> int:
    """Write the scores as Parquet, layout `msmarco_hard_negatives`, in the order of the pickle; returns their number.

    Raises:
        UserError: see `load_scores`; or a score or an id has no place in Parquet.
    """
    scores = load_scores(source)
    rows = _rows(scores)
    temporary = target.with_name(f".{target.name}.new")
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            while block := list(islice(rows, QUERIES)):
                writer.write_table(pa.Table.from_pylist(block, schema=SCHEMA))
        temporary.replace(target)
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError) as error:
        raise UserError(f"{source}: a score or an id that Parquet cannot hold: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return sum(map(len, scores.values()))


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status, 2 for a file that is refused."""
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="convert_scores", description=__doc__, formatter_class=formatter)
    parser.add_argument("source", type=Path, help="the .pkl or .pkl.gz file")
    parser.add_argument("target", type=Path, help="the Parquet file to write")
    arguments = parser.parse_args(argv)
    try:
        count = convert_scores(arguments.source, arguments.target)
    except (UserError, OSError) as error:
        print(f"convert_scores: error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.target}: {count} scores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
