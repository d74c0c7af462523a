"""Memory of training data: candidates and targets of two sizes, measured, and extrapolated to MS MARCO's 160 M scores.

    python benchmarks/training_data_memory.py                     20 M rows over MS MARCO's 8.8 M passage ids
    python benchmarks/training_data_memory.py --rows 1000000 --documents 100000

What is counted is anonymous memory: pages of memory-mapped files can be dropped by the system at any time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sparsemill.data.candidates import SCHEMA as CANDIDATES
from sparsemill.data.collection import CORPUS, QRELS, QUERIES, ROW_GROUP

MSMARCO_ROWS, MSMARCO_DOCUMENTS, PER_QUERY = 160_000_000, 8_841_823, 100
LIMIT_GIB = 8
GIB = 1 << 30


def _ids(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def write_corpus(folder: Path, documents: int) -> None:
    """A corpus whose passages have as many characters as MS MARCO's on average, 335."""
    filler = "one passage among many " * 14
    with pq.ParquetWriter(folder / "corpus.parquet", CORPUS, compression="zstd") as writer:
        for start in range(0, documents, 1 << 18):
            ids = _ids(np.arange(start, min(start + (1 << 18), documents)))
            texts = pc.binary_join_element_wise(ids, filler, " ")
            empty = pa.array([""] * len(ids))
            writer.write_table(pa.Table.from_arrays([ids, empty, texts], schema=CORPUS), row_group_size=ROW_GROUP)


def write_set(folder: Path, rows: int, documents: int) -> None:
    """Queries, candidates (the first of each query is its positive) and targets."""
    folder.mkdir()
    queries = rows // PER_QUERY
    ids = _ids(np.arange(queries))
    texts = pc.binary_join_element_wise("what is passage number", ids, " ")
    pq.write_table(pa.Table.from_arrays([ids, texts], schema=QUERIES), folder / "queries.parquet")
    pq.write_table(QRELS.empty_table(), folder / "qrels.parquet")
    generator = np.random.default_rng(0)
    scores = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("score", pa.float32())])
    with (
        pq.ParquetWriter(folder / "candidates.parquet", CANDIDATES, compression="zstd") as candidates,
        pq.ParquetWriter(folder / "scores.parquet", scores, compression="zstd") as targets,
    ):
        for start in range(0, queries, 1 << 13):
            count = min(1 << 13, queries - start)
            query_ids = _ids(np.repeat(np.arange(start, start + count), PER_QUERY))
            # Distinct within a query.
            first = generator.integers(documents, size=(count, 1))
            doc_ids = _ids(((first + np.arange(PER_QUERY) * (documents // PER_QUERY)) % documents).ravel())
            ranks = np.tile(np.arange(1, PER_QUERY + 1, dtype=np.int32), count)
            values = pa.array(generator.random(count * PER_QUERY, dtype=np.float32))
            lists = pa.ListArray.from_arrays(pa.array(np.zeros(len(ranks) + 1, np.int32)), pa.array([], pa.int32()))
            columns = [query_ids, doc_ids, pa.array(ranks), values, pa.array(ranks == 1), lists]
            candidates.write_table(pa.Table.from_arrays(columns, schema=CANDIDATES))
            targets.write_table(pa.Table.from_arrays([query_ids, doc_ids, values], schema=scores))


def _memory() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {name: int(value.split()[0]) << 10 for name, value in (line.split(":") for line in lines) if "kB" in value}
    return {"anonymous": sizes["RssAnon"], "peak": sizes["VmHWM"]}


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Load the data in this process and draw 2,000 records with texts and targets."""
    from sparsemill.training.data import CandidateTargets, load_data
    from sparsemill.training.schedule import Schedule

    before = _memory()
    started = time.perf_counter()
    data = load_data(folder, folder, cache=cache)
    targets = CandidateTargets(data, folder)
    loaded = time.perf_counter() - started
    schedule = Schedule(data.positives, data.negatives, records=2000, documents_per_query=8, seed=0)
    started = time.perf_counter()
    for position in range(2000):
        record = schedule[position]
        targets.rows([record])
        assert all(data.documents[document] for document in record.documents)
    drawn = (time.perf_counter() - started) / 2000
    after = _memory()
    return {
        "rows": len(data.table.documents),
        "held": after["anonymous"] - before["anonymous"],
        "peak": after["peak"] - before["anonymous"],
        "load_seconds": loaded,
        "record_microseconds": 1e6 * drawn,
    }


def _measure_apart(folder: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(folder), str(cache)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    found: dict[str, float] = json.loads(told)
    return found


def report(small: dict[str, float], large: dict[str, float]) -> bool:
    """Print both measurements and the extrapolation; whether it stays below the limit."""
    fits = True
    for name in ("held", "peak"):
        slope = (large[name] - small[name]) / (large["rows"] - small["rows"])
        total = large[name] + slope * (MSMARCO_ROWS - large["rows"])
        print(
            f"{name}: {small[name] / GIB:.2f} GiB at {small['rows'] / 1e6:.0f} M rows, {large[name] / GIB:.2f} GiB at "
            f"{large['rows'] / 1e6:.0f} M: {slope:.1f} bytes per row; at 160 M rows {total / GIB:.2f} GiB"
        )
        fits &= total <= LIMIT_GIB * GIB
    print(f"load: {large['load_seconds']:.0f} s; record: {large['record_microseconds']:.0f} microseconds")
    return fits


def main() -> int:
    """Build, measure, report; 1 when the extrapolation is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--documents", type=int, default=MSMARCO_DOCUMENTS)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_corpus(root, arguments.documents)
        found = []
        for rows in (arguments.rows // 4, arguments.rows):
            folder = root / str(rows)
            write_set(folder, rows, arguments.documents)
            (folder / "corpus.parquet").symlink_to(root / "corpus.parquet")
            found.append(_measure_apart(folder, folder / "texts"))
    return 0 if report(*found) else 1


if __name__ == "__main__":
    sys.exit(main())
