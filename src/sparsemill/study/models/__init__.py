"""The typed config: every key, its type, default and meaning.

The JSON schema (`config/schema.json`) and the reference page (`config/README.md`) are generated from these models.
"""

from sparsemill.study.models.base import LATER, Model, Scale, models_in
from sparsemill.study.models.engines import BUILT_IN, MilvusEngine, OpenSearchEngine
from sparsemill.study.models.published import Claim, Published
from sparsemill.study.models.released import Released
from sparsemill.study.models.sources import (
    WEIGHT_FILES,
    Backbone,
    BeirFolder,
    Collection,
    FolderWeights,
    Group,
    HubWeights,
    IdfFile,
    PackageWeights,
    PairFile,
    SplitOf,
    Weights,
)
from sparsemill.study.models.study import Study
from sparsemill.study.models.tables import PAIR_COUNTS, Column, Expected, Figure, Row, Sweep, Table
from sparsemill.study.models.teachers import (
    SIAMESE,
    Bm25Teacher,
    CrossEncoderTeacher,
    CrossEncoderTraining,
    DenseTeacher,
    Ensemble,
    MonoT5Teacher,
    ScoresTeacher,
    SparseTeacher,
    Teacher,
)
from sparsemill.study.models.training import Experiment, Pretraining, Pruning, QueryRegulariser, Regulariser, Training
from sparsemill.study.models.training_sets import MixtureSet, PairSet, TrainingSet

__all__ = [
    "BUILT_IN",
    "LATER",
    "PAIR_COUNTS",
    "SIAMESE",
    "WEIGHT_FILES",
    "Backbone",
    "BeirFolder",
    "Bm25Teacher",
    "Claim",
    "Collection",
    "Column",
    "CrossEncoderTeacher",
    "CrossEncoderTraining",
    "DenseTeacher",
    "Ensemble",
    "Expected",
    "Experiment",
    "Figure",
    "FolderWeights",
    "Group",
    "HubWeights",
    "IdfFile",
    "MilvusEngine",
    "MixtureSet",
    "Model",
    "MonoT5Teacher",
    "OpenSearchEngine",
    "PackageWeights",
    "PairFile",
    "PairSet",
    "Pretraining",
    "Pruning",
    "Published",
    "QueryRegulariser",
    "Regulariser",
    "Released",
    "Row",
    "Scale",
    "ScoresTeacher",
    "SparseTeacher",
    "SplitOf",
    "Study",
    "Sweep",
    "Table",
    "Teacher",
    "Training",
    "TrainingSet",
    "Weights",
    "models_in",
]
