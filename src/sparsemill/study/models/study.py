"""The resolved config of one invocation."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sparsemill.study.models.base import (
    LATER,
    PRECISION,
    Device,
    Measure,
    Model,
    Name,
    Paper,
    Positive,
    Precision,
    Revision,
    Scale,
)
from sparsemill.study.models.engines import Engine
from sparsemill.study.models.published import Claim, Published
from sparsemill.study.models.released import Released
from sparsemill.study.models.sources import AnyIdf, Backbone, Collection, Group
from sparsemill.study.models.tables import Expected, Explanation, Figure, Sweep, Table
from sparsemill.study.models.teachers import CrossEncoderTraining, Ensemble, Teacher
from sparsemill.study.models.training import Experiment, Pretraining
from sparsemill.study.models.training_sets import AnyTrainingSet


class Tracking(Model):
    """MLflow."""

    uri: str = Field(default="", description="tracking server; empty: SQLite in the results folder")
    experiment: Name = Field(default="demo", description="MLflow experiment of this study's runs")
    live: bool = Field(default=True, description="stream training curves while training runs")
    upload_mib: Annotated[float, LATER] = Field(
        default=5.0, ge=0, description="files above this size (MiB) are logged by path and hash, not uploaded"
    )


class Seismic(Model):
    """The approximate engine, for serving; `benchmarks/engines.py` measures its recall for several values."""

    n_postings: Positive = Field(default=450, description="postings that a token keeps, on average over the tokens")
    centroid_fraction: float = Field(default=0.4, gt=0, le=1, description="blocks of a token by its postings")
    summary_energy: float = Field(default=0.9, gt=0, le=1, description="share of a block's weight in its summary")
    query_cut: Positive = Field(default=8, description="heaviest tokens of a query that are looked up")
    heap_factor: float = Field(
        default=1.0, gt=0, le=1, description="blocks whose summary is below the k-th score times this are skipped"
    )


class Study(Model):
    """The resolved config of one invocation."""

    results: str = Field(default="results", description="folder for everything generated")
    data: str = Field(default=".", description="folder at which relative paths of BEIR-style folders start")
    scale: Scale = Field(
        default="demo", description="which of an entry's `scales` counts; it decides models, data and steps together"
    )
    revisions: dict[str, Revision] = Field(
        default={}, description="id on the hub -> commit, for weights that this repository could not pin"
    )
    presets: list[Name] = Field(default=["demo"], description="files of `config/papers/` to load")
    missing: Literal["run", "show"] = Field(
        default="run",
        description="what tables do about systems that were not run: run: they wait for them; show: they are made of "
        "what is there, and say what is not and which command runs it",
    )
    paper: Paper = Field(
        default="", description="arXiv id of a paper: only its tables and figures are made (empty: all that are known)"
    )
    sweep: list[Name] = Field(
        default=[],
        description="sweeps to run, by name (`config/sweeps/` or `sweeps`), or one sweep as a mapping: keys to values, "
        "with `base` and `collection` where they are not the defaults",
    )
    device: Device = Field(
        default="auto",
        description="auto: CUDA where there is a GPU, else the CPU; another value makes anew what it computed",
    )
    shards: Positive = Field(default=1, description="parts into which encoding and scoring are cut")
    encode_tokens: Positive = Field(
        default=4096, description="padded tokens in one encoding batch; a large GPU wants 65536"
    )
    head: Annotated[Literal["chunked", "triton"], LATER] = Field(
        default="chunked",
        description="implementation of the SPLADE head in training and encoding; triton: one fused kernel, needs the "
        "package `triton` and a CUDA device",
    )
    encode_precision: Precision = Field(default="fp32", description="while encoding: " + PRECISION)
    engine: Name = Field(
        default="exact",
        description="engine whose runs feed the tables and mine: exact (up to some million documents), lucene (impacts "
        "are quantised), seismic (approximate, needs the extra `seismic`), or an entry of `engines`",
    )
    check_engine: Name = Field(
        default="lucene", description="second engine, compared with the first: as `engine`, or none"
    )
    mining_engine: Literal["", "exact", "lucene", "seismic"] = Field(
        default="",
        description="engine with which experiments and released checkpoints mine (empty: as `engine`, or exact where "
        "that is a cluster); above demo scale exact shares the queries among eight threads",
    )
    seismic_engine: Annotated[Seismic, LATER] = Field(default=Seismic(), description="of the engine seismic")
    depth: Positive = Field(default=1000, description="documents kept per query in a run")
    tables_source: Annotated[Literal["files", "mlflow"], LATER] = Field(
        default="files",
        description="where `snakemake tables` reads measures: the files of the results folder, or the runs of the "
        "MLflow store alone",
    )
    measures: list[Measure] = Field(
        default=["nDCG@10", "MRR@10", "R@100", "R@1000", "AP"],
        min_length=1,
        description="what every run is evaluated with: nDCG, nDCG@k, MRR, MRR@k, R@k, P@k, AP (or MAP), AP@k, "
        "Success@k",
    )
    engines: dict[Name, Engine] = {}
    collections: dict[Name, Collection] = {}
    groups: dict[Name, Group] = {}
    backbones: dict[Name, Backbone] = {}
    idfs: dict[Name, AnyIdf] = {}
    training_sets: dict[Name, AnyTrainingSet] = {}
    teachers: dict[Name, Teacher] = {}
    cross_encoders: dict[Name, CrossEncoderTraining] = {}
    ensembles: dict[Name, Ensemble] = {}
    pretrainings: dict[Name, Pretraining] = {}
    experiments: dict[Name, Experiment] = {}
    released: dict[Name, Released] = {}
    sweeps: dict[Name, Sweep] = {}
    tables: dict[Name, Table] = {}
    figures: dict[Name, Figure] = {}
    explanations: dict[Name, Explanation] = {}
    expected: list[Expected] = []
    published: dict[Name, Published] = {}
    claims: dict[Name, Claim] = {}
    tracking: Tracking = Tracking()

    @field_validator("measures")
    @classmethod
    def _measures_are_distinct(cls, measures: list[str]) -> list[str]:
        if len(set(measures)) != len(measures):
            raise ValueError("a measure is named twice")
        return measures
