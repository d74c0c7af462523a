"""Latency and throughput of searches in OpenSearch as its clients see them, without anything of ours in between.

    python -m sparsemill.serving.cluster --configfile MINE.yaml --system ours --collection NAME --engines os os-2phase

The indexes are those that the workflow ingested with that config. Queries are encoded before the clock starts. `fixed`
are requests that match nothing: the cost of a round trip. The engines take turns, and ratios are to the first one.
"""

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsemill.errors import UserError, told
from sparsemill.files import write_json
from sparsemill.serving.measure import Served, ask, available_cores
from sparsemill.serving.options import add_load, load_of, positive
from sparsemill.study import edges, specs
from sparsemill.study.check import ENCODED
from sparsemill.study.hints import nearest
from sparsemill.study.load import load_study
from sparsemill.study.models import OpenSearchEngine, Study
from sparsemill.study.yaml_files import read_yaml

FIXED = "fixed"
_NOTHING = json.dumps({"size": 0, "track_total_hits": False, "query": {"match_none": {}}})


def open_target(study: Study, system: str, collection: str, engine: str, k: int) -> dict[str, Any]:
    """Requests of all test queries (see `OpenSearchIndex.target`).

    Raises:
        UserError: the cluster cannot be reached, something was not made yet, or no query has a token.
    """
    from sparsemill.data.collection import read_queries
    from sparsemill.retrieval.opensearch import OpenSearchIndex
    from sparsemill.retrieval.queries import open_queries

    variant = specs.variants(study, system)[0]
    keys = edges.upstream(study, f"runs/{system}/{variant}/{collection}/{engine}")
    places = {name: Path(study.results) / found[0] for name, found in keys.items()}
    connection = specs.connection_facts(study, engine)["connection"]
    index = OpenSearchIndex(places["index"], specs.query_spec(study, engine), connection)
    idf = places["idf"] / "idf.json" if "idf" in places else None
    encoder = open_queries(places["model"], specs.queries(study, system, device="cpu"), idf=idf)
    queries = read_queries(places["collection"], split=study.collections[collection].split)
    target = index.target(encoder.encode([query.text for query in queries]), k)
    if not target["bodies"]:
        raise UserError(f"{system}: no query of {collection} has a token, so there is nothing to ask")
    return target


def summarise(found: Mapping[tuple[str, int], Served]) -> list[dict[str, Any]]:
    """A record per number of clients and engine: milliseconds, queries per second, ratios to the first engine."""
    first = next(name for name, _ in found if name != FIXED)
    records = []
    for (name, clients), served in sorted(found.items(), key=lambda item: item[0][1]):
        p50, p99 = np.percentile(served.milliseconds, [50, 99])
        base50, base99 = np.percentile(found[first, clients].milliseconds, [50, 99])
        ratios = {"p50_ratio": p50 / base50, "p99_ratio": p99 / base99}
        records.append(
            {"engine": name, "clients": clients, "p50_ms": float(p50), "p99_ms": float(p99)}
            | {"throughput": served.throughput, "requests": len(served.milliseconds)}
            | {key: float(value) for key, value in ratios.items()}
        )
    return records


def _study(configfile: Path, root: Path) -> Study:
    merged: dict[str, Any] = {}
    for path in (root / "config.yaml", configfile):
        merged |= read_yaml(path)
    return load_study(merged, root)


def _check_names(study: Study, given: argparse.Namespace) -> None:
    clusters = [name for name, entry in study.engines.items() if isinstance(entry, OpenSearchEngine)]
    asked: list[tuple[str, str, Collection[str], str]] = [
        ("--system", given.system, specs.retrievers(study), ENCODED),
        ("--collection", given.collection, study.collections, "collection"),
        *(("--engines", engine, clusters, "engine of kind opensearch") for engine in given.engines),
    ]
    for option, name, valid, kind in asked:
        if name not in valid:
            raise UserError(f"{option}: no {kind} {name!r}; {nearest(name, valid)}")
    if FIXED in given.engines:
        raise UserError(f"--engines: {FIXED} is the name of requests that match nothing; rename the engine")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sparsemill.serving.cluster", description=__doc__)
    parser.add_argument("--configfile", type=Path, required=True, help="the overlay that the indexes were made with")
    parser.add_argument("--config", type=Path, default=Path("config"), help="the folder config/ of the checkout")
    parser.add_argument("--system", required=True, help="an experiment")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--engines", nargs="+", required=True, help="entries of `engines`, the first to compare with")
    parser.add_argument("--k", type=positive, default=10, help="documents per query")
    add_load(parser, rounds=3, warmup=100)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the records")
    return parser.parse_args(argv)


@told
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = _parse(argv)
    study = _study(given.configfile, given.config)
    _check_names(study, given)
    names = (study, given.system, given.collection)
    targets = {engine: open_target(*names, engine, given.k) for engine in given.engines}
    targets[FIXED] = targets[given.engines[0]] | {"bodies": [_NOTHING]}
    records = summarise(ask(targets, load=load_of(given), cores=available_cores()))
    write_json(given.out, records)
    for record in records:
        print("{engine:20} {clients:3} clients  p50 {p50_ms:8.2f} ms  p99 {p99_ms:8.2f} ms".format(**record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
