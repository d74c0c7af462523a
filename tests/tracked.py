"""A small results folder to publish, and what tests do with its store."""

import io
import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sparsemill import manifest
from sparsemill.job import main
from sparsemill.tables.collect import FILES, collect
from sparsemill.tracking.live import LiveRun
from sparsemill.tracking.publish import Publication, publish
from sparsemill.tracking.store import Store, create_store
from sparsemill.tracking.verify import verify

SPEC = {"experiment": "demo", "engines": {"ours": "lucene"}, "rows": {"ours": ["main/Ours"]}}
SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
STORE = Path("results/tracking/store")
TRAINING = {"learning_rate": 1e-5, "regulariser": {"lambda_d": 0.02}, "seed": 0, "stage_version": 1}
ASSUMED = {"regulariser.warmup_steps": "the released code"}
CURVE = [{"step": step, "time": 1.7e9 + step / 3, "loss": 1 / step, "flops": 0.1 * step} for step in (1, 2, 3)]


class World:
    """A small results folder with a collection, a trained system and BM25."""

    def __init__(self) -> None:
        self.contents: dict[str, str] = {}

    def add(
        self, key: str, spec: dict[str, Any], files: dict[str, Any], *, inputs: tuple[str, ...] = (), **facts: Any
    ) -> Path:
        """Write an artefact; text files as they are, others as JSON."""
        folder = Path("results") / key
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = value if isinstance(value, str | bytes) else json.dumps(value)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        described = manifest.build(
            folder,
            stage=key.split("/", maxsplit=1)[0],
            key=key,
            spec=spec,
            inputs={name: self.contents[name] for name in inputs},
            facts={"queries": 7, **facts},
            started=1.7e9,
        )
        manifest.write(folder, described | {"wall_seconds": 2.5, "peak_memory_mib": 100})
        self.contents[key] = described["content"]
        return folder

    def evaluation(self, system: str, variant: str, engine: str, ndcg: float, *inputs: str) -> Path:
        """An evaluation on `pydocs`."""
        place = {"system": system, "variant": variant, "collection": "pydocs", "engine": engine}
        values = {"nDCG@10": ndcg, "R(rel=2)@100": 1 / 3, "latency/BM25": 1.0}
        return self.add(
            f"evaluations/{system}/{variant}/pydocs/{engine}", place, {"measures.json": values}, inputs=inputs
        )

    def per_query(self, system: str, values: list[float]) -> Path:
        """An evaluation on `pydocs` with its per-query values."""
        place = {"system": system, "variant": "fixed", "collection": "pydocs", "engine": "lucene"}
        rows = [(f"q{number}", "nDCG@10", value) for number, value in enumerate(values)]
        buffer = io.BytesIO()
        pd.DataFrame(rows, columns=["query_id", "measure", "value"]).to_parquet(buffer)
        files = {"measures.json": {"nDCG@10": sum(values) / len(values)}, "per_query.parquet": buffer.getvalue()}
        return self.add(f"evaluations/{system}/fixed/pydocs/lucene", place, files)

    def model(self) -> Path:
        """A trained system with curves and a file above the upload limit."""
        lines = "".join(json.dumps(record) + "\n" for record in CURVE)
        files = {"metrics.jsonl": lines, "model/weights": "x" * 300_000, "query_weights.json": {"a": 1.0}}
        return self.add("models/ours/seed-0", TRAINING, files, inputs=("collections/pydocs",), assumed=ASSUMED)

    def build(self) -> list[Path]:
        """All artefacts, in no useful order."""
        collection = self.add("collections/pydocs", {"kind": "pydocs"}, {"corpus.parquet": "c"})
        model = self.model()
        place = {"system": "ours", "variant": "seed-0", "collection": "pydocs", "engine": ""}
        values = {"FLOPS": 0.1 + 0.2, "tokens/doc": 50.5, "documents": 10, "postings": 505}
        sparsity = self.add(
            "sparsity/ours/seed-0/pydocs", place, {"sparsity.json": values}, inputs=("models/ours/seed-0",)
        )
        table = self.add(
            "tables/main", {"table": "main"}, {"table.md": "| a |\n", "table.csv": "system,nDCG@10\nours,0.5\n"}
        )
        evaluations = [
            self.evaluation("ours", "seed-0", "lucene", 0.7123456789012345, "models/ours/seed-0", "collections/pydocs"),
            self.evaluation("ours", "seed-0", "exact", 0.72),
            self.evaluation("bm25", "fixed", "lucene", 0.5),
        ]
        return [table, sparsity, *evaluations, model, collection]


def publish_all(folders: list[Path], **changes: Any) -> Publication:
    return publish(folders, STORE, {**SPEC, "upload_mib": 0.1, **changes})


def spec_hashes(folders: list[Path]) -> dict[str, str]:
    """Key -> hash of its spec."""
    return {described["key"]: described["spec_hash"] for described in map(manifest.read, folders)}


def all_runs(store: Store) -> dict[str, Any]:
    runs = store.client.search_runs(list(store.experiments.values()), max_results=500)
    return {run.info.run_id: run for run in runs}


def by_key(store: Store) -> dict[str, Any]:
    return {run.data.tags["key"]: run for run in all_runs(store).values() if "superseded_by" not in run.data.tags}


def described(store: Store, rename: Callable[[str], str]) -> dict[str, Any]:
    """Everything in a store but run ids."""
    return {
        run.data.tags["key"]: (
            run.info.run_name,
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            run.data.params,
            {
                name: [(m.step, m.timestamp, m.value) for m in store.client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
            {name: rename(value) for name, value in run.data.tags.items()},
            [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs],
            sorted(entry.path for entry in store.client.list_artifacts(run.info.run_id)),
        )
        for run in all_runs(store).values()
    }


def renamer(publication: Publication) -> Callable[[str], str]:
    keys = {receipt.run_id: key for key, receipt in publication.runs.items()}

    def rename(text: str) -> str:
        for run_id, key in keys.items():
            text = text.replace(run_id, key)
        return text

    return rename


def live(spec: dict[str, Any] = TRAINING) -> LiveRun:
    run = LiveRun.start(STORE, experiment="demo", key="models/ours/seed-0", run_name="ours seed-0 training", spec=spec)
    assert run is not None
    return run


def unreachable() -> None:
    create_store(STORE, {"uri": "http://127.0.0.1:9", "experiments": ["demo"], "root": "results/mlflow"})


def render(frame: Any, folder: Path) -> dict[str, str]:
    return {"table.txt": frame.to_csv(index=False)}


def verified(world: World, folders: list[Path]) -> dict[str, Any]:
    kinds = {"evaluations": "evaluation", "sparsity": "sparsity", "training_pairs": "training_pairs"}
    chosen = [folder for folder in folders if folder.parts[1] in kinds]
    grouped = {kind: [f for f in chosen if kinds[f.parts[1]] == kind] for kind in FILES}
    frame = collect(grouped)
    tidy = Path("results/tables/tidy")
    tidy.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(tidy / "results.parquet")
    inputs = {str(number): manifest.read(folder)["content"] for number, folder in enumerate(chosen)}
    manifest.write(
        tidy, manifest.build(tidy, stage="t", key="tables/tidy", spec={}, inputs=inputs, facts={}, started=0)
    )
    table = Path("results/rendered")
    table.mkdir(exist_ok=True)
    if not (table / "table.txt").exists():
        (table / "table.txt").write_text(frame.to_csv(index=False))
    return verify(
        tidy=tidy,
        store_folder=STORE,
        published=Path("results/published"),
        experiment="demo",
        tables=[table],
        render=render,
    )


def script(name: str, spec: dict[str, Any], out: str, **inputs: Path | list[Path]) -> int:
    """Run a stage's command line in this process."""
    run = runpy.run_path(str(SCRIPTS / f"{name}.py"))["run"]
    arguments = ["--spec", json.dumps(spec), "--out", f"results/{out}", "--key", out]
    for key, paths in inputs.items():
        arguments += ["--in", key, *map(str, paths if isinstance(paths, list) else [paths])]
    return main(name, run, argv=arguments)
