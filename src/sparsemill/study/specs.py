"""The slice of the config that each stage depends on: what a rule's `params` hold.

A stage runs again when its slice changes, when its version here is raised, or when an input changes; not otherwise.
"""

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sparsemill.errors import UserError
from sparsemill.study.groups import shares
from sparsemill.study.measures import Asked, asked_times
from sparsemill.study.models import (
    SIAMESE,
    Bm25Teacher,
    Collection,
    Column,
    Expected,
    Experiment,
    IdfFile,
    MixtureSet,
    Pretraining,
    Pruning,
    Released,
    Row,
    ScoresTeacher,
    SparseTeacher,
    SplitOf,
    Study,
    Table,
    Training,
)
from sparsemill.study.published import Value, curves, shown
from sparsemill.study.sweep_points import sweep_points
from sparsemill.study.training_sets import judged, members
from sparsemill.study.verdicts import due_claims, due_values

VERSIONS = {
    "fetch_collection": 1,
    "prepare_backbone": 1,
    "prepare_released": 1,
    "count_idf": 1,
    "embed_teacher": 1,
    "score_teacher": 1,
    "normalize_scores": 1,
    "aggregate_scores": 1,
    "mine_candidates": 2,
    "find_false_negatives": 1,
    "train_cross_encoder": 1,
    "pretrain": 2,
    "finetune": 2,
    "encode_corpus": 2,
    "build_index": 1,
    "search": 1,
    "search_dense": 1,
    "fuse_runs": 1,
    "evaluate_run": 2,
    "measure_sparsity": 2,
    "measure_latency": 1,
    "measure_index_size": 1,
    "measure_engine_time": 1,
    "measure_serving": 1,
    "collect_results": 1,
    "test_significance": 2,
    "render_table": 2,
    "plot_figure": 1,
    "check_expected": 2,
    "collection_page": 2,
    "sweep_page": 1,
    "report_pages": 2,
    "explain_queries": 2,
    "mlflow_init": 1,
    "publish": 2,
    "verify_tracking": 1,
}
"""Raise a stage's number when its code changes what it writes."""

SERVED = {"query_cut", "heap_factor"}
"""Keys of `seismic_engine` that search alone uses."""

Spec = dict[str, Any]


def _dump(model: BaseModel, **options: Any) -> Spec:
    dumped: Spec = model.model_dump(mode="json", **options)
    return dumped


def _versioned(stage: str, spec: Spec) -> Spec:
    return {**spec, "stage_version": VERSIONS[stage]}


def retrievers(study: Study) -> dict[str, Experiment | Released]:
    """Systems that encode documents with a model of their own."""
    return {**study.experiments, **study.released}


def system_kind(study: Study, system: str) -> str:
    """`experiment`, `released`, `ensemble`, or the kind of a teacher."""
    if system in study.experiments:
        return "experiment"
    if system in study.released:
        return "released"
    if system in study.ensembles:
        return "ensemble"
    return study.teachers[system].kind


def system_engine(study: Study, system: str) -> str:
    """The engine whose run of the system feeds the tables."""
    engines = {
        "experiment": study.engine,
        "released": study.engine,
        "bm25": "lucene",
        "dense": "exact",
        "sparse": "exact",
        "ensemble": "fusion",
    }
    if in_two_phases(study, system):
        return "lucene"
    return engines[system_kind(study, system)]


def in_two_phases(study: Study, system: str) -> bool:
    """Whether the system searches in two phases, which Lucene alone does."""
    return system in study.experiments and study.experiments[system].two_phase is not None


def _two_phase(study: Study, system: str) -> Spec:
    """`two_phase`, where the system searches so; else nothing."""
    return _dump(study.experiments[system], include={"two_phase"}) if system in study.experiments else {}


def variants(study: Study, system: str) -> list[str]:
    """`seed-<n>` for each seed of an experiment; `fixed` for what is not trained."""
    if system in study.experiments:
        return [f"seed-{seed}" for seed in study.experiments[system].seeds]
    return ["fixed"]


def _seed(variant: str) -> int | None:
    return int(variant.removeprefix("seed-")) if variant.startswith("seed-") else None


def _identity(system: str, variant: str, collection: str, engine: str) -> Spec:
    return {"system": system, "variant": variant, "seed": _seed(variant), "collection": collection, "engine": engine}


def _version(package: str) -> str:
    """Version of an installed import package, so that an upgrade reads its docstrings anew."""
    for name in (package, {"sklearn": "scikit-learn"}.get(package, package)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def fetch_collection(study: Study, name: str) -> Spec:
    """Evaluation keys are left out: changing them fetches nothing."""
    if isinstance(chosen := study.collections[name], SplitOf):
        raise UserError(f"config: collections.{name}: is a split of {chosen.of} and not fetched; fetch that one")
    spec = _dump(chosen, exclude={"self_hits", "relevance"})
    if spec["kind"] in ("beir_folder", "pairs"):
        spec["path"] = (Path(study.data) / spec["path"]).as_posix()
    elif spec["kind"] == "pydocs":
        spec["versions"] = [_version(package) for package in spec["packages"]]
    return _versioned("fetch_collection", spec)


def prepare_backbone(study: Study, name: str) -> Spec:
    """The backbone as configured."""
    return _versioned("prepare_backbone", _dump(study.backbones[name]))


def prepare_released(study: Study, name: str) -> Spec:
    """The checkpoint and how it reads texts; what becomes of its vectors is left out."""
    drop = {"quantisation", "prune", "query_prune"}
    return _versioned("prepare_released", _dump(study.released[name], exclude=drop))


def count_idf(study: Study, name: str) -> Spec:
    """The IDF table as configured."""
    chosen = study.idfs[name]
    spec = _dump(chosen)
    if isinstance(chosen, IdfFile):
        spec["path"] = (Path(study.data) / chosen.path).as_posix()
    return _versioned("count_idf", spec)


def embed_teacher(study: Study, teacher: str, shard: str) -> Spec:
    """Cached embeddings of one shard of a collection."""
    chosen = study.teachers[teacher]
    spec = _dump(chosen)
    if isinstance(chosen, SparseTeacher) and chosen.experiment is not None:
        spec |= {"queries": queries(study, chosen.experiment, device=study.device), **_dump(study, include={"head"})}
    return _versioned(
        "embed_teacher", {**spec, "device": study.device, "shard": int(shard), "shards": shard_count(study, teacher)}
    )


def shard_count(study: Study, teacher: str) -> int:
    """Shards of a teacher's embeddings; BM25's statistics are those of the whole collection, so it has one."""
    return 1 if isinstance(study.teachers[teacher], Bm25Teacher) else study.shards


def score_teacher(study: Study, teacher: str, shard: str) -> Spec:
    """Scores of one shard of the training queries; embeddings know their teacher, other scorers are described here."""
    chosen = study.teachers[teacher]
    spec: Spec = {"teacher": teacher, "shard": int(shard), "shards": study.shards}
    if chosen.kind not in SIAMESE:
        spec["scorer"] = _dump(chosen)
        spec["device"] = study.device
    if isinstance(chosen, ScoresTeacher):
        spec["scorer"]["path"] = (Path(study.data) / chosen.path).as_posix()
    return _versioned("score_teacher", spec)


def train_cross_encoder(study: Study, name: str) -> Spec:
    """The cross-encoder as configured."""
    return _versioned(
        "train_cross_encoder", {**_dump(study.cross_encoders[name], exclude={"assumed"}), "device": study.device}
    )


def normalize_scores(study: Study, method: str) -> Spec:
    """The method alone."""
    del study
    return _versioned("normalize_scores", {"normalisation": method})


def aggregate_scores(study: Study, ensemble: str) -> Spec:
    """The ensemble as configured."""
    return _versioned("aggregate_scores", _dump(study.ensembles[ensemble]))


def index_spec(study: Study, engine: str) -> Spec:
    """What an entry of `engines` says about its index: neither where it is, nor how it is asked."""
    entry = study.engines[engine]
    return _dump(entry, exclude={*entry.CONNECTION, *entry.QUERY, "index"})


def query_spec(study: Study, engine: str) -> Spec:
    """How an entry of `engines` asks its index."""
    entry = study.engines[engine]
    return _dump(entry, include={"kind", *entry.QUERY})


def connection_facts(study: Study, engine: str) -> Spec:
    """Where an entry of `engines` is: no part of a spec, so that moving a cluster makes nothing anew."""
    entry = study.engines[engine]
    return {"connection": _dump(entry, include=set(entry.CONNECTION))}


def build_index(study: Study, system: str, engine: str) -> Spec:
    """An index; that of BM25 does not depend on k1 and b, and only Lucene's impacts are quantised."""
    if engine in study.engines:
        return _versioned("build_index", {"engine": study.engines[engine].kind, "cluster": index_spec(study, engine)})
    if system_kind(study, system) == "bm25":
        analysed = _dump(study.teachers[system], exclude={"kind", "k1", "b"})
        return _versioned("build_index", {"engine": "bm25", **analysed})
    spec: Spec = {"engine": engine}
    if engine == "lucene":
        spec["quantisation"] = retrievers(study)[system].quantisation
    elif engine == "exact":
        spec |= _dump(retrievers(study)[system], include={"postings"})
    elif engine == "seismic":
        spec["seismic"] = _dump(study.seismic_engine, exclude=SERVED)
    return _versioned("build_index", spec)


def _collection_rules(collection: Collection) -> Spec:
    return {"split": collection.split, "self_hits": collection.self_hits}


def code(study: Study, trained: Training | Released) -> Spec:
    """`trust_remote_code` where the weights that a model comes from bring code that the config allows; else nothing."""
    if isinstance(trained, Released):
        return {"trust_remote_code": True} if getattr(trained.weights, "trust_remote_code", False) else {}
    start = trained.backbone if isinstance(trained, Pretraining) else getattr(trained, "start", None)
    found = code(study, study.pretrainings[start]) if start in study.pretrainings else {}
    for name in (start, trained.query_backbone):
        if name in study.backbones and getattr(study.backbones[name].weights, "trust_remote_code", False):
            found = {"trust_remote_code": True}
    return found


def queries(study: Study, system: str, *, device: str) -> Spec:
    """How a retriever's queries are encoded; see `sparsemill.retrieval.queries.open_queries`."""
    chosen = retrievers(study)[system]
    spec: Spec = {"query_length": chosen.query_length}
    if isinstance(chosen, Released) and not chosen.siamese:
        spec["special_tokens"] = chosen.special_tokens
    if chosen.siamese:
        spec["encoder"] = {
            "device": device,
            "precision": study.encode_precision,
            "tokens": study.encode_tokens,
            "prune": _dump(chosen.query_prune),
            # The Triton kernel runs on a GPU only.
            **(_dump(study, include={"head"}) if device != "cpu" else {}),
            **code(study, chosen),
        }
    return spec


def search(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """How a system's run is made."""
    kind = system_kind(study, system)
    rules = _collection_rules(study.collections[collection])
    spec = {**_identity(system, variant, collection, engine), **rules, "kind": kind, "depth": study.depth}
    if kind == "bm25":
        spec |= {**_dump(study.teachers[system], exclude={"kind"}), "engine": "bm25"}
    elif kind == "ensemble":
        spec |= _dump(study.ensembles[system], exclude={"scale", "rescale_to"})
        return _versioned("fuse_runs", spec)
    elif kind in SIAMESE:
        return _versioned("search_dense", spec)
    else:
        spec |= queries(study, system, device=study.device) | _two_phase(study, system)
        if engine in study.engines:
            spec["cluster"] = query_spec(study, engine)
        elif engine == "seismic":
            spec["seismic"] = _dump(study.seismic_engine, include=SERVED)
    return _versioned("search", spec)


def miner_variant(study: Study, miner: str) -> str:
    """The variant of a miner that searches: an experiment's model of seed 0."""
    return "seed-0" if miner in study.experiments else "fixed"


def miner_engine(study: Study, miner: str) -> str:
    """The engine that a miner searches with: the tables', or the exact one where that is a cluster.

    So no training waits for a cluster, or is done anew because of one.
    """
    engine = system_engine(study, miner)
    return "exact" if engine in study.engines else engine


def search_training(study: Study, training_set: str, miner: str) -> Spec:
    """A miner's run over the training queries."""
    chosen = judged(study, training_set)
    spec = search(study, miner, miner_variant(study, miner), chosen.collection, miner_engine(study, miner))
    return {**spec, "split": chosen.split, "depth": chosen.depth}


def mine_candidates(study: Study, training_set: str) -> Spec:
    """The training set as configured, without what is left out after mining; `top` means nothing beside windows."""
    chosen = judged(study, training_set)
    return _versioned(
        "mine_candidates", _dump(chosen, exclude={"false_negatives"} | ({"top"} if chosen.windows else set()))
    )


def find_false_negatives(study: Study, training_set: str) -> Spec:
    """The teacher and the margin."""
    chosen = judged(study, training_set).false_negatives
    if chosen is None:
        raise UserError(f"config: training_sets.{training_set}: has no false_negatives")
    return _versioned("find_false_negatives", _dump(chosen))


def _training(study: Study, spec: Training, stage: str, seed: int) -> Spec:
    drop = {
        "seeds",
        "encode_length",
        "quantisation",
        "postings",
        "prune",
        "query_prune",
        "retrieval_idf",
        "assumed",
        "model",
        "two_phase",
    }
    resolved = {
        **_dump(spec, exclude=drop),
        # As the first release wrote it.
        "in_batch": {"none": False, "documents": True}.get(spec.in_batch, spec.in_batch),
        "ensemble_spec": None if spec.ensemble is None else _dump(study.ensembles[spec.ensemble]),
        "device": study.device,
        "seed": seed,
        **_dump(study, include={"head"}),
        **code(study, spec),
    }
    if isinstance(study.training_sets[spec.training_set], MixtureSet):
        resolved["mixture"] = members(study, spec.training_set)
    return _versioned(stage, resolved)


def pretrain(study: Study, name: str, seed: str) -> Spec:
    """The pre-training as configured, for one seed."""
    return _training(study, study.pretrainings[name], "pretrain", int(seed))


def finetune(study: Study, name: str, seed: str) -> Spec:
    """The experiment as configured, for one seed; keys of encoding and indexing are left out."""
    return _training(study, study.experiments[name], "finetune", int(seed))


def trained_facts(study: Study, key: str) -> Spec:
    """What the manifest of a trained artefact says of its config; no part of the spec, so that it retrains nothing."""
    head, name, *_ = key.split("/")
    if head == "cross_encoders":
        return {"assumed": study.cross_encoders[name].assumed}
    trained: Training = study.pretrainings[name] if head == "pretrained" else study.experiments[name]
    return {"assumed": trained.assumed}


def encode_corpus(study: Study, system: str, shard: str) -> Spec:
    """Encoding of one shard."""
    chosen = retrievers(study)[system]
    spec: Spec = {
        "encode_length": chosen.encode_length,
        "encode_tokens": study.encode_tokens,
        "precision": study.encode_precision,
        "device": study.device,
        "shard": int(shard),
        "shards": study.shards,
        **_dump(study, include={"head"}),
        **code(study, chosen),
    }
    if chosen.prune != Pruning():
        spec["prune"] = _dump(chosen.prune)
    return _versioned("encode_corpus", spec)


def measure_index_size(study: Study, system: str, variant: str, collection: str) -> Spec:
    """The index that the system's run is made with."""
    engine = system_engine(study, system)
    return _versioned("measure_index_size", _identity(system, variant, collection, engine))


def evaluate_run(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """Measures and judgements."""
    chosen = study.collections[collection]
    spec: Spec = {"measures": study.measures, "split": chosen.split, "relevance": chosen.relevance}
    if isinstance(chosen, SplitOf) and chosen.counts:
        spec["counts"] = chosen.counts
    return _versioned("evaluate_run", {**_identity(system, variant, collection, engine), **spec})


def measure_sparsity(study: Study, system: str, variant: str, collection: str) -> Spec:
    """FLOPS and lengths."""
    spec: Spec = {"split": study.collections[collection].split, "kind": system_kind(study, system)}
    if system in retrievers(study):
        spec |= queries(study, system, device="cpu") | {"quantisation": retrievers(study)[system].quantisation}
    return _versioned("measure_sparsity", {**_identity(system, variant, collection, ""), **spec})


def measure_latency(study: Study, system: str, variant: str, collection: str) -> Spec:
    """Latency beside BM25, in Lucene."""
    spec: Spec = {
        "split": study.collections[collection].split,
        "kind": system_kind(study, system),
        "k": 10,
        "passes": 5,
        "queries": 300,
        "bm25": _dump(reference_bm25(study)[1], exclude={"kind"}),
    }
    if system in retrievers(study):
        spec |= queries(study, system, device="cpu") | _two_phase(study, system)
    else:
        own = _dump(study.teachers[system], exclude={"kind"})
        spec |= {"own": own} if own != spec["bm25"] else {}
    return _versioned("measure_latency", {**_identity(system, variant, collection, "lucene"), **spec})


def bm25_teachers(study: Study) -> dict[str, Bm25Teacher]:
    """All BM25: the one called `bm25`, then the others by name."""
    items = sorted(study.teachers.items(), key=lambda item: (item[0] != "bm25", item[0]))
    return {name: teacher for name, teacher in items if isinstance(teacher, Bm25Teacher)}


def _timed(study: Study, place: Spec, asked: Asked) -> Spec:
    """How the system of that identity and what it is compared with are searched."""
    system, collection = place["system"], place["collection"]
    bm25 = {
        name: _dump(study.teachers[name], exclude={"kind"}) for name in {*asked.baselines, system} & {*study.teachers}
    }
    spec: Spec = {
        "split": study.collections[collection].split,
        "kind": system_kind(study, system),
        "options": bm25.get(system, {}),
        "baselines": {name: bm25[name] for name in asked.baselines},
        "queries": 300,
    }
    if system in retrievers(study):
        served = {"seismic": _dump(study.seismic_engine, include=SERVED)} if place["engine"] == "seismic" else {}
        spec |= {"query_side": queries(study, system, device="cpu"), "options": served | _two_phase(study, system)}
    return place | spec


def measure_engine_time(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """An engine's time alone, at every number of documents that is shown."""
    asked = asked_times(study, "engine_time", system, collection, engine)
    spec = {"depths": asked.numbers, "passes": 5, "warmup": 1}
    place = _identity(system, variant, collection, engine)
    return _versioned("measure_engine_time", _timed(study, place, asked) | spec)


def measure_serving(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """What clients of a server see, at every number of them that is shown."""
    asked = asked_times(study, "serving", system, collection, engine)
    load = {"clients": asked.numbers, "requests": 1000, "seconds": 5.0, "rounds": 2, "warmup": 100}
    place = _identity(system, variant, collection, engine)
    return _versioned("measure_serving", _timed(study, place, asked) | {"k": 10, "load": load})


def reference_bm25(study: Study) -> tuple[str, Bm25Teacher]:
    """Name and settings of the BM25 that latency is compared with: the one called `bm25`, else the first by name."""
    for name, teacher in bm25_teachers(study).items():
        return name, teacher
    raise UserError("config: teachers: there is no teacher of kind bm25 to compare latency with")


def _engines(study: Study, systems: Iterable[str]) -> dict[str, str]:
    return {system: system_engine(study, system) for system in systems}


def labels(study: Study) -> dict[str, str]:
    """Label of every system in the tables; that of the first table by name wins."""
    found: dict[str, str] = {}
    for table in study.tables.values():
        for row in table.measured_rows:
            if row.label:
                found.setdefault(row.system, row.label)
    return found


def _labels(study: Study, systems: Iterable[str]) -> dict[str, str]:
    known = labels(study)
    return {system: known[system] for system in systems if system in known}


def _groups(study: Study, names: Iterable[str]) -> Spec:
    """`groups`: the shares of those collections that are groups; nothing where none is."""
    found = {name: shares(study, name) for name in names if name in study.groups}
    return {"groups": found} if found else {}


def _cited(study: Study, table: Table) -> Spec:
    """`published`: what is cited beside ours; nothing where nothing is."""
    found = shown(study, table)
    return {"published": found} if found["cells"] else {}


def collect_results(study: Study) -> Spec:
    """Nothing but the inputs."""
    del study
    return _versioned("collect_results", {})


def _tested(table: Table) -> Table:
    """What the tests and intervals of a table need: systems, comparisons, places; never its labels or other columns."""
    rows = [Row(system=row.system, compare=row.compare) for row in table.measured_rows]
    tested = [column for column in table.measured_columns if column.measure == table.test_measure]
    columns = [Column(measure=column.measure, collection=column.collection) for column in tested]
    # A table has a row and a column, also where nothing is compared.
    rows, columns = rows or [table.rows[0].model_copy(update={"label": "", "note": ""})], columns or table.columns[:1]
    dropped = {"caption": "", "published": [], "paper": ""}
    return table.model_copy(update={**dropped, "rows": rows, "columns": columns})


def test_significance(study: Study, table: str) -> Spec:
    """The table's tests; its other columns and its labels change none of them."""
    chosen = _tested(study.tables[table])
    engines = _engines(study, {system for row in chosen.measured_rows for system in (row.system, *row.compare)})
    groups = _groups(study, (column.collection for column in chosen.columns))
    return _versioned("test_significance", {"table": _dump(chosen), "engines": engines, **groups})


def render_table(study: Study, table: str) -> Spec:
    """The table as configured."""
    chosen = study.tables[table]
    engines = _engines(study, (row.system for row in chosen.measured_rows))
    groups = _groups(study, (column.collection for column in chosen.measured_columns))
    spec = {"name": table, "table": _dump(chosen), "engines": engines, **groups, **_cited(study, chosen)}
    return _versioned("render_table", spec)


def plot_figure(study: Study, figure: str) -> Spec:
    """The figure as configured."""
    chosen = study.figures[figure]
    spec: Spec = {"name": figure, "figure": _dump(chosen), "labels": _labels(study, chosen.systems)}
    spec |= _groups(study, [chosen.collection])
    if chosen.sweep is not None:
        settings = sweep_points(study, chosen.sweep)
        spec["settings"] = {system: settings[system] for system in chosen.systems if system in settings}
    if published := curves(study, chosen):
        spec["published"] = published
    return _versioned("plot_figure", {**spec, "engines": _engines(study, chosen.systems)})


def explain_queries(study: Study, name: str) -> Spec:
    """The page as configured."""
    chosen = study.explanations[name]
    collection = study.collections[chosen.collection]
    shown = [*chosen.systems, *([chosen.baseline] if chosen.baseline else [])]
    spec = {
        **_dump(chosen),
        "split": collection.split,
        "relevance": collection.relevance,
        "labels": _labels(study, shown),
        "query_lengths": {system: retrievers(study)[system].query_length for system in chosen.systems},
    }
    encoded = {system: queries(study, system, device="cpu") for system in chosen.systems}
    special_tokens = {system: one["special_tokens"] for system, one in encoded.items() if "special_tokens" in one}
    if special_tokens:
        spec["special_tokens"] = special_tokens
    encoders = {system: spec["encoder"] for system, spec in encoded.items() if "encoder" in spec}
    if encoders:
        spec["encoders"] = encoders
    return _versioned("explain_queries", spec)


def check_expected(study: Study) -> Spec:
    """The expected values, the published ones that the study must reach, and the claims that it can answer."""
    expected = [*study.expected, *map(_expected, due_values(study))]
    claims = due_claims(study)
    sides = [system for claim in claims.values() for system in (*claim.better, *claim.worse)]
    engines = _engines(study, [*(value.system for value in expected), *sides])
    answered = {"claims": {name: _dump(claim) for name, claim in claims.items()}} if claims else {}
    places = [*(value.collection for value in expected), *(claim.collection for claim in claims.values())]
    groups = _groups(study, places)
    values = [_dump(item, exclude={"scale"}) for item in expected]
    return _versioned("check_expected", {"expected": values, "engines": engines, **groups, **answered})


def _expected(value: Value) -> Expected:
    return Expected(
        system=str(value.system),
        collection=value.collection,
        measure=value.measure,
        value=value.value,
        tolerance=value.tolerance or 0.0,
        source=f"{value.paper}, {value.table}, {value.evidence}",
        tier=value.tier or "expected",
    )


def mlflow_init(study: Study) -> Spec:
    """The tracking store."""
    return _versioned(
        "mlflow_init",
        {"uri": study.tracking.uri, "experiments": [study.tracking.experiment], "root": f"{study.results}/mlflow"},
    )


def publish(study: Study) -> Spec:
    """Where to, and which table rows each system feeds."""
    rows: dict[str, list[str]] = {}
    for name, table in study.tables.items():
        for row in table.measured_rows:
            rows.setdefault(row.system, []).append(f"{name}/{row.label or row.system}")
    teachers = [name for name, teacher in study.teachers.items() if teacher.kind in SIAMESE]
    # The registry holds released checkpoints that no row shows.
    systems = [*study.experiments, *(name for name in study.released if name in rows), *teachers, *study.ensembles]
    spec = {"experiment": study.tracking.experiment, "rows": rows, "engines": _engines(study, systems)}
    spec |= _dump(study.tracking, include={"upload_mib"})
    if study.sweep:
        spec["sweeps"] = {
            name: [row.system for row in study.tables[f"sweep-{name}"].measured_rows] for name in study.sweep
        }
    return _versioned("publish", spec)


def verify_tracking(study: Study) -> Spec:
    """Which experiment's runs are compared."""
    return _versioned("verify_tracking", {"experiment": study.tracking.experiment})
