# Glue between Snakemake and the package: the resolved study, paths, and the one shape of every command.
import os
import re
import sys
import time
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from sparsemill.command_line import input_words, spec_word
from sparsemill.errors import UserError
from sparsemill.files import canonical_json
from sparsemill.malloc import keep_freed_memory
from sparsemill.retrieval.ir_metadata import GOAL
from sparsemill.study import check, edges, gpu, launch, mirror, missing, outside, pages, plan, revisions, specs, targets
from sparsemill.study.goal import research_goal
from sparsemill.study.load import SECTIONS, chosen_scale, load_study
from sparsemill.study.unused import unused_experiments
from sparsemill.study.yaml_files import all_expected, check_config_files, check_overlays

# Jobs use this interpreter and this checkout, also inside conda environments.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
    SPARSEMILL_SCRIPTS=str(ROOT / "workflow" / "scripts"),
)
# Without bytecode each job compiles what it imports again, for up to 12 CPU seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
keep_freed_memory()
INVOCATION = os.environ.setdefault("SPARSEMILL_INVOCATION", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))

# Targets that bring their own config: as if --configfile had named it, for jobs that start a Snakemake of their own too.
try:
    brought = targets.overlays(sys.argv[1:], chosen_scale(config), ROOT / "config")
except UserError as error:
    sys.exit(f"error: {error}")

for overlay in brought:

    configfile: str(overlay)

    workflow.config_settings.configfiles.append(overlay)


try:
    check_config_files(map(Path, workflow.configfiles))
    check_overlays(map(Path, workflow.configfiles), SECTIONS)
    study = load_study(config | all_expected(map(Path, workflow.configfiles)), ROOT / "config")
    if study.missing == "show":
        overlays = [Path(os.path.relpath(file)) for file in workflow.config_settings.configfiles]
        study = missing.made_only(study, lambda key: Path(study.results, key, "manifest.json").exists(), overlays)
    elif workflow.is_main_process:
        for name in unused_experiments(study, config.get("experiments") or {}):
            told = "nothing that is shown needs it, so it runs only as a target; give it a row in a table"
            print(f"note: experiments.{name}: {told}", file=sys.stderr)
except UserError as error:
    sys.exit(f"error: {error}")


onstart:
    try:  # a dry run shows the plan without them
        revisions.check_revisions(study)
        here = workflow.dag.needrun_jobs() if workflow.local_exec else ()
        gpu.check_device(study.device, wanted=any("gpu" in job.resources.keys() for job in here))
    except UserError as error:
        sys.exit(f"error: {error}")
    # Snakemake limits how many jobs start in a second by looking at all ready ones again a second after each look, for
    # ever: every job adds a look a second, and after 200 of them that takes half a core.
    workflow.scheduler.job_rate_limiter = None


RESULTS = Path(study.results)
# What sidecars of runs say of the study; no input, or a new table would search again.
os.environ.update({GOAL: canonical_json(research_goal(study))})
# Training streams to the store if there is one. No input either: a store that was deleted must train nothing again, nor
# cost a stopped training its checkpoints.
os.environ.update(SPARSEMILL_STORE=str(RESULTS / "store") if study.tracking.live else "")
LARGER = 1 if study.scale == "demo" else 8  # memory of what holds a collection's ids, or a shard of it
COMMANDS = Path(".snakemake", "sparsemill")  # parts of commands that a shell would not take
GPUS = int(study.device != "cpu" and gpu.sees_gpu())
ENCODING_THREADS = 8 if GPUS else 1  # a GPU encodes what several cores tokenise


def anyof(names):
    """A wildcard constraint: one of the names that the config holds."""
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"


encoded_systems = [*study.experiments, *study.released]
sparse_systems = [
    *encoded_systems,
    *(name for name, teacher in study.teachers.items() if teacher.kind == "bm25"),
]
score_files = [name for name, teacher in study.teachers.items() if teacher.kind == "scores"]
embedded_systems = [name for name, teacher in study.teachers.items() if teacher.kind in ("dense", "sparse")]


wildcard_constraints:
    collection=anyof(study.collections),
    backbone=anyof(study.backbones),
    idf=anyof(study.idfs),
    training_set=anyof(study.training_sets),
    teacher=anyof(study.teachers),
    cross_encoder=anyof(study.cross_encoders),
    ensemble=anyof(study.ensembles),
    pretraining=anyof(study.pretrainings),
    experiment=anyof(study.experiments),
    released=anyof(study.released),
    table=anyof(study.tables),
    figure=anyof(study.figures),
    sweep=anyof(study.sweep),
    explanation=anyof(study.explanations),
    system=anyof(check.system_names(study)),
    variant=r"fixed|seed-\d+",
    engine=anyof(["lucene", "exact", "seismic", "fusion", *study.engines]),
    method="minmax|zscore|rank|softmax|none",
    seed=r"\d+",
    shard=r"\d+",


def query_gpus(wildcards):
    """GPUs of a search: those of a system whose queries go through an encoder."""
    chosen = specs.retrievers(study).get(wildcards.get("system") or wildcards.miner)
    return GPUS if chosen is not None and chosen.siamese else 0


def mining_threads(wildcards):
    """Threads of a miner; only the exact engine shares queries among several, and a demo has other jobs for them."""
    return 8 if study.scale != "demo" and specs.miner_engine(study, wildcards.miner) == "exact" else 1


def path(key):
    """Folder or file below the results folder."""
    return str(RESULTS / key)


def front_page():
    """The report's front page, if it was made."""
    made = RESULTS / "pages" / "front.rst"
    return str(made.absolute()) if made.exists() else None


def manifest(key):
    """Manifest of an artefact: what rules depend on."""
    return str(RESULTS / key / "manifest.json")


def manifests(keys):
    """Manifests of several artefacts."""
    return [manifest(key) for key in keys]


def parents(pattern):
    """An input function: the manifests of what the artefact is made from, by name, and `files` that no rule makes."""

    def resolve(wildcards):
        made = pattern.format(**wildcards)
        found = {name: manifests(keys) for name, keys in edges.upstream(study, made).items()}
        return {**found, "files": outside.outside_files(study, made)}

    return resolve


def inputs(pattern):
    """A `params` function: `--in NAME PATH...`, or a file of it, for everything that the artefact is made from."""

    def resolve(wildcards):
        made = pattern.format(**wildcards)
        found = {name: list(map(path, keys)) for name, keys in edges.upstream(study, made).items()}
        found["files"] = outside.outside_files(study, made)
        return input_words(found, COMMANDS)

    return resolve


def spec(function, *names):
    """A `params` function: canonical JSON, or a file of it, of the config slice that `function` cuts for wildcards."""

    def resolve(wildcards):
        return spec_word(function(study, *(getattr(wildcards, name) for name in names)), COMMANDS)

    return resolve


def key(pattern):
    """A `params` function: the artefact's key."""
    return lambda wildcards: pattern.format(**wildcards)


def out(pattern):
    """A `params` function: the artefact's folder."""
    return lambda wildcards: path(pattern.format(**wildcards))


def facts(pattern):
    """A `params` function: JSON for the manifest. It asks for `output`, and so a change of it runs nothing again."""
    return lambda wildcards, output: canonical_json(specs.trained_facts(study, pattern.format(**wildcards)))


def connection(wildcards, output):
    """A `params` function: JSON for the manifest, where the cluster is; it asks for `output`, see `facts`."""
    return canonical_json(specs.connection_facts(study, wildcards.engine))


def launcher(wildcards, resources):
    """A `params` function: Python, or torchrun for several processes; it asks for `resources`, see `facts`."""
    pretraining = wildcards.get("pretraining")
    trained = study.experiments[wildcards.experiment] if pretraining is None else study.pretrainings[pretraining]
    processes = launch.sharing(trained, resources.processes)
    if processes == 1:
        return "python"
    return f"python -m torch.distributed.run --standalone --nproc_per_node {processes} --"


def reading(wildcards):
    """A `params` value: new in each invocation where measures come from the store, where publishing changes no file."""
    return INVOCATION if study.tables_source == "mlflow" else ""


def command(script, marked=False, launched=False):
    """The shell command of a rule; the checkout's place is not in it, so that moving it runs nothing again."""
    told = "--out {params.out:q} --key {params.key:q} --log {log:q} --threads {threads} --spec {params.spec:q}"
    marks = marked * " --facts {params.facts:q}"
    python = "{params.launcher}" if launched else "python"
    return f'{python} "$SPARSEMILL_SCRIPTS"/{script}.py {{params.inputs:q}} {told}{marks}'
