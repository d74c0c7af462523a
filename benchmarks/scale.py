"""The exact engine on collections that grow: memory of building and searching, and cost per posting.

The collection is that of `synthetic.py`, drawn part by part with the same topics; every size takes the first parts of
the same collection, and the same inference-free queries. Building and searching run in a process each, whose peak
memory is `VmHWM`: resident pages of mapped files count, so that searching shows the part of the index that queries
touched. A query's time is the CPU time of its thread, the
shortest of all passes: wall time would hold what other processes got meanwhile.
"""

import argparse
import datetime
import json
import multiprocessing
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from memory import resident_peak
from scipy import sparse
from synthetic import draw_topics, make

from sparsemill.retrieval.exact import OFFSETS, WEIGHTS, ExactIndex, Postings, build_exact
from sparsemill.retrieval.vectors import IDS, VECTORS, Shard, read_ids, write_ids, write_shard

DEPTHS = (10, 1000)
FORMS: tuple[Postings, ...] = ("float32", "blocked")
MSMARCO = 8_841_823
"""Passages of MS MARCO."""


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


def _alone(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Call in a process of its own."""
    with _pool(1) as pool:
        return pool.submit(function, *arguments).result()


def repeat_part(folder: Path, drawn: Path) -> None:
    """A shard with the vectors of another, under ids of its own."""
    folder.mkdir()
    (folder / VECTORS).hardlink_to(drawn / VECTORS)
    write_ids(folder / IDS, [f"{folder.name}-{identifier}" for identifier in read_ids(drawn / IDS)])


def draw_part(folder: Path, documents: int, queries: int, part: int) -> None:
    """Write one shard of vectors; the first part also writes the queries."""
    topics = draw_topics(np.random.default_rng(0))
    view = make(documents, queries, seed=part + 1, topic_words=topics).inference_free
    folder.mkdir()
    write_shard(folder, Shard([f"{part}-{row}" for row in range(documents)], view.documents))
    if part == 0:
        sparse.save_npz(folder.parent / "queries.npz", view.queries)


def build(index: Path, shards: list[Path], form: Postings) -> dict[str, float]:
    """Build an index; seconds, peak memory, and size on disk."""
    index.mkdir()
    wall, cpu = time.perf_counter(), time.process_time()
    statistics = build_exact(index, shards, postings=form)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak": resident_peak() / 2**20,
        "size": sum(path.stat().st_size for path in index.iterdir()) / 2**20,
        "documents": statistics.documents,
        "postings": statistics.postings,
    }


def search(index: Path, queries: Any, passes: int) -> dict[str, float]:
    """Search query by query: mean microseconds at each depth, and peak memory."""
    engine, rows = ExactIndex(index), [queries[row] for row in range(queries.shape[0])]
    times = {k: np.full(len(rows), np.inf) for k in DEPTHS}
    for _ in range(passes + 1):  # the first compiles and reads pages, and is never the shortest
        for k, shortest in times.items():
            for number, row in enumerate(rows):
                start = time.thread_time()
                engine.find(row, k)
                shortest[number] = min(shortest[number], time.thread_time() - start)
    return {
        "peak": resident_peak() / 2**20,
        **{f"us@{k}": float(shortest.mean() * 1e6) for k, shortest in times.items()},
    }


def touched(index: Path, queries: Any) -> float:
    """Postings of a query's tokens, averaged; weights of 0 in full lists do not count."""
    offsets, weights = np.load(index / OFFSETS), np.load(index / WEIGHTS, mmap_mode="r")
    frequency = {
        token: sum(np.count_nonzero(weights[section[token] : section[token + 1]]) for section in offsets)
        for token in set(queries.indices.tolist())
    }
    return sum(frequency[token] for token in queries.indices.tolist()) / float(queries.shape[0])


def run(
    root: Path, sizes: list[int], *, part: int, distinct: int, forms: list[Postings], queries: int, passes: int
) -> list[dict[str, Any]]:
    """Measure every size in every form; documents beyond `distinct` repeat the vectors of the first ones."""
    shards = [root / f"part-{number}" for number in range(max(sizes) // part)]
    drawn = shards[: distinct // part]
    with _pool(2) as pool:
        list(pool.map(draw_part, drawn, repeat(part), repeat(queries), range(len(drawn))))
    for number, folder in enumerate(shards[len(drawn) :]):
        repeat_part(folder, drawn[number % len(drawn)])
    print(f"{len(drawn)} of {len(shards)} parts drawn", file=sys.stderr)
    asked, rows = sparse.load_npz(root / "queries.npz"), []
    for size in sizes:
        for form in forms:
            index = root / f"{form}-{size}"
            built = _alone(build, index, shards[: size // part], form)
            found = _alone(search, index, asked, passes)
            looked_at = touched(index, asked)
            per_posting = {f"ns@{k}": found[f"us@{k}"] * 1000 / looked_at for k in DEPTHS}
            rows.append(
                {"size": size, "form": form, "touched": looked_at, "build": built, "search": found, **per_posting}
            )
            for path in index.iterdir():
                path.unlink()
    return rows


def derived(rows: list[dict[str, Any]]) -> list[str]:
    """MS MARCO's figures from the largest size: documents have as many postings, and a posting costs as much."""
    lines = [
        "",
        f"| MS MARCO, {MSMARCO:,} passages, derived | index, GiB | ms per query, top 10 | top 1,000 |",
        "|---|---|---|---|",
    ]
    for row in [row for row in rows if row["size"] == rows[-1]["size"]]:
        share = MSMARCO / row["size"]
        times = [f"{row['search'][f'us@{k}'] * share / 1000:.1f}" for k in DEPTHS]
        lines.append(f"| {row['form']} | {row['build']['size'] * share / 1024:.1f} | {' | '.join(times)} |")
    return lines


def report(rows: list[dict[str, Any]], *, name: str | None) -> None:
    """Print the tables, and keep them if there is a name."""
    from compare import RESULTS, machine  # not above: it loads torch, which would count as memory of every process

    command = f"python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"
    lines = [
        "# Scale of the exact engine",
        "",
        f"`{command}`, {datetime.date.today().isoformat()}; {machine('cpu')}; 1 thread",
        "",
        "| documents | form | postings, millions | index, MiB | build, CPU s | build, peak MiB | search, peak MiB "
        "| postings per query | us, top 10 | us, top 1,000 | ns per posting, top 10 | top 1,000 |",
        "|" + "---|" * 12,
    ]
    for row in rows:
        built, found = row["build"], row["search"]
        cells = [
            f"{row['size']:,}",
            row["form"],
            f"{built['postings'] / 1e6:.1f}",
            f"{built['size']:,.0f}",
            f"{built['cpu_seconds']:.1f}",
            f"{built['peak']:,.0f}",
            f"{found['peak']:,.0f}",
            f"{row['touched']:,.0f}",
            *(f"{found[f'us@{k}']:,.0f}" for k in DEPTHS),
            *(f"**{row[f'ns@{k}']:.2f}**" for k in DEPTHS),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += derived(rows)
    print("\n".join(lines))
    if name:
        record = {"command": command, "machine": machine("cpu"), "results": rows}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--part", type=int, default=50_000, help="documents of a shard; divides all sizes")
    parser.add_argument("--distinct", type=int, default=1_000_000, help="documents drawn; more repeat their vectors")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="of postings")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--name", help="write results/NAME.json and results/NAME.md")
    chosen = parser.parse_args()
    if any(size % chosen.part for size in (*chosen.documents, chosen.distinct)):
        parser.error(f"--documents and --distinct: not multiples of --part {chosen.part}")
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "part": chosen.part,
            "distinct": chosen.distinct,
            "forms": chosen.forms,
            "queries": chosen.queries,
            "passes": chosen.passes,
        }
        report(run(Path(folder), sorted(chosen.documents), **options), name=chosen.name)


if __name__ == "__main__":
    main()
