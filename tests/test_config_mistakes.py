"""What a mistake in a config is told: unknown keys, wrong values, and names that stand for nothing."""

import pytest
from configs import Config, experiment, load, table, told

from sparsemill.errors import UserError
from sparsemill.study.edges import upstream

# --- unknown keys ------------------------------------------------------------------------------------------------

UNKNOWN_KEYS = [
    ({"experimnts": {}}, "config: experimnts: unknown key; did you mean 'experiments'?"),
    (
        {"experiments": experiment(regulariser={"lamda_d": 1})},
        "config: experiments.x.regulariser.lamda_d: unknown key; did you mean 'lambda_d'?",
    ),
    ({"experiments": experiment(stepz=1)}, "config: experiments.x.stepz: unknown key; did you mean 'steps'?"),
    (
        {"teachers": {"x": {"extends": "minilm", "max_lenght": 1}}},
        "config: teachers.x.max_lenght: unknown key; did you mean 'max_length'?",
    ),
    (
        {"teachers": {"x": {"extends": "minilm", "weights": {"shar256": "0"}}}},
        "config: teachers.x.weights.shar256: unknown key; did you mean 'sha256'?",
    ),
    (
        {"collections": {"x": {"kind": "beir_folder", "path": "x", "relevence": 2}}},
        "config: collections.x.relevence: unknown key; did you mean 'relevance'?",
    ),
    ({"tracking": {"lives": True}}, "config: tracking.lives: unknown key; did you mean 'live'?"),
    (
        {"tables": table(rows=[{"system": "ours", "lable": "us"}])},
        "config: tables.t.rows.0.lable: unknown key; did you mean 'label'?",
    ),
    ({"figures": {"f": {"extends": "activation", "z": 1}}}, "config: figures.f.z: unknown key; valid: caption, "),
]


@pytest.mark.parametrize(
    ("config", "message"), UNKNOWN_KEYS, ids=[message.split(": ")[1] for _, message in UNKNOWN_KEYS]
)
def test_unknown_keys_name_the_path_and_the_nearest_key(config: Config, message: str) -> None:
    assert told(**config).startswith(message)


def test_a_misspelt_required_key_is_told_before_the_missing_one() -> None:
    entry = {"training_sets": {"x": {"colection": "pydocs-train"}}}
    message = told(**entry)
    assert message == "config: training_sets.x.colection: unknown key; did you mean 'collection'? (and 1 more)"


@pytest.mark.parametrize("section", ["experiments", "released"])
def test_the_kernel_computes_no_sum(section: str) -> None:
    weights = {"kind": "folder", "path": "x"}
    entry = {"extends": "ours"} if section == "experiments" else {"weights": weights, "query_side": "splade"}
    summed = {section: {"x": entry | {"representation": "sum"}}}
    message = f"config: {section}.x.representation: head: triton computes a maximum, not a sum; set head: chunked"
    assert told(head="triton", **summed) == message
    assert load(**summed).head == "chunked"


# --- wrong values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "start"),
    [
        ({"depth": "many"}, "config: depth: Input should be a valid integer"),
        ({"depth": 0}, "config: depth: Input should be greater than 0, got 0"),
        ({"engine": "solr"}, "config: engine: no engine 'solr'; valid: exact, lucene"),
        ({"experiments": experiment(learning_rate="fast")}, "config: experiments.x.learning_rate: "),
        ({"experiments": experiment(learning_rate=float("nan"))}, "config: experiments.x.learning_rate: "),
        (
            {"experiments": experiment(regulariser={"lambda_d": float("inf")})},
            "config: experiments.x.regulariser.lambda_d: ",
        ),
        (
            {"experiments": experiment(quantisation=10**9)},
            "config: experiments.x.quantisation: Input should be less than",
        ),
        ({"experiments": experiment(steps=True)}, "config: experiments.x: steps is neither true nor false"),
        ({"experiments": experiment(seeds=[1, 1])}, "config: experiments.x.seeds: a seed is named twice"),
        ({"experiments": experiment(seeds=[-1])}, "config: experiments.x.seeds.0: "),
        (
            {"experiments": experiment(kl_weight=0, infonce_weight=0)},
            "config: experiments.x: kl_weight, infonce_weight and margin_mse_weight are all 0",
        ),
        (
            {"experiments": experiment(ensemble=None)},
            "config: experiments.x: ensemble is null, but kl_weight is not 0; name an ensemble",
        ),
        (
            {"experiments": experiment(ensemble=None, kl_weight=0, margin_mse_weight=1)},
            "config: experiments.x: ensemble is null, but margin_mse_weight is not 0; name an ensemble",
        ),
        (
            {"experiments": experiment(in_batch="positives", infonce_weight=0)},
            "config: experiments.x: in_batch: positives acts on InfoNCE alone, but infonce_weight is 0",
        ),
        (
            {"experiments": experiment(in_batch="negatives", infonce_weight=0)},
            "config: experiments.x: in_batch: negatives acts on InfoNCE alone, but infonce_weight is 0",
        ),
        (
            {"experiments": experiment(query_regulariser={"lambda_q": 0.1})},
            "config: experiments.x: query_regulariser: queries of query_side idf are not encoded",
        ),
        (
            {"experiments": experiment(regulariser={"kind": "l1", "reduction": "mean_of_slots"})},
            "config: experiments.x.regulariser: reduction and weighting belong to kind flops",
        ),
        (
            {"experiments": experiment(query_regulariser={"lambda_d": 0.1})},
            "config: experiments.x.query_regulariser.lambda_d: unknown key; did you mean 'lambda_q'?",
        ),
        (
            {"experiments": {"a/b": {"extends": "ours"}}},
            "config: experiments.a/b: a name has letters, digits, dots, hyphens and underscores",
        ),
        (
            {"revisions": {"some/where": "main"}},
            "config: revisions.some/where: must be the 40 digits of a commit, got 'main'",
        ),
        ({"experiments": {"x": 3}}, "config: experiments.x: expected a mapping, got 3"),
        ({"experiments": [1]}, "config: experiments: expected a mapping of names"),
        ({"expected": {"a": 1}}, "config: expected: expected a list"),
        ({"presets": "demo"}, "config: presets: expected a list of names, got 'demo'; write [demo]"),
        ({"results": None}, "config: results: "),
        (
            {"ensembles": {"x": {"teachers": ["bm25"], "weights": [1, 2]}}},
            "config: ensembles.x: 1 teachers but 2 weights",
        ),
        (
            {"ensembles": {"x": {"extends": "minilm-bm25", "weights": [1, -1]}}},
            "config: ensembles.x.weights.1: Input should be greater than or equal to 0, got -1",
        ),
        (
            {"ensembles": {"x": {"extends": "minilm-bm25", "weights": [0, 0]}}},
            "config: ensembles.x: weights are all 0; give a teacher a weight",
        ),
        (
            {"ensembles": {"x": {"teachers": ["bm25", "minilm", "bm25"]}}},
            "config: ensembles.x: a teacher is named twice; give it a weight instead",
        ),
        (
            {"backbones": {"x": {"extends": "minilm-l2", "start_active": None}}},
            "config: backbones.x: start_active and ",
        ),
        (
            {"experiments": {"x": {"extends": "ours", "seeds": [True]}}},
            "config: experiments.x: seeds is neither true nor false; give it a value of its type",
        ),
        (
            {"backbones": {"x": {"weights": {"kind": "hub", "id": ["a"]}}}, "revisions": {"a/b": 40 * "0"}},
            "config: backbones.x.weights.id: Input should be a valid string, got ['a']",
        ),
        ({"teachers": {"x": {"kind": "densse"}}}, "config: teachers.x.kind: no kind 'densse'; did you mean 'dense'?"),
        (
            {"teachers": {"x": {"k1": 1}}},
            "config: teachers.x: `kind` is missing; valid: bm25, cross_encoder, dense, monot5, scores, sparse",
        ),
    ],
)
def test_wrong_values_name_the_path(config: Config, start: str) -> None:
    assert told(**config).startswith(start)


# --- references --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"presets": ["demos"]}, "config: presets: no preset 'demos'; did you mean 'demo'?"),
        ({"presets": [["demo"]]}, "config: presets: no preset"),
        ({"sweep": ["nope"]}, "config: sweep: no sweep 'nope'; "),
        (
            {"experiments": experiment(ensemble="minilm-bm2")},
            "experiments.x.ensemble: no ensemble 'minilm-bm2'; did you",
        ),
        ({"experiments": experiment(idf="pydoc")}, "experiments.x.idf: no idf 'pydoc'; did you mean 'pydocs'?"),
        ({"experiments": experiment(retrieval_idf="pydoc")}, "experiments.x.retrieval_idf: no idf 'pydoc'; did"),
        ({"experiments": experiment(training_set="docs")}, "experiments.x.training_set: no training set 'docs'; did"),
        (
            {"experiments": experiment(start="minilm")},
            "no backbone or pre-training 'minilm'; did you mean 'minilm-l2'?",
        ),
        ({"experiments": {"x": {"extends": "our"}}}, "experiments.x: extends unknown 'our'; did you mean 'ours'?"),
        ({"experiments": {"x": {"extends": ["ours"]}}}, "experiments.x: extends unknown ['ours']; "),
        ({"ensembles": {"x": {"teachers": ["bm52"]}}}, "ensembles.x.teachers: no teacher 'bm52'; did you mean 'bm25'?"),
        (
            {"idfs": {"x": {"collections": ["pydoc"], "backbone": "minilm-l2"}}},
            "idfs.x.collections: no collection with documents of its own 'pydoc'; did you mean 'pydocs'?",
        ),
        ({"idfs": {"x": {"extends": "pydocs", "backbone": "minilm"}}}, "idfs.x.backbone: no backbone 'minilm'; did"),
        (
            {"training_sets": {"x": {"collection": "pydocs-trian"}}},
            "no collection with documents of its own 'pydocs-trian'; did you mean 'pydocs-train'?",
        ),
        (
            {"training_sets": {"x": {"extends": "pydocs", "miner": "minilmm"}}},
            "x.miner: no experiment, released checkpoint or teacher of kind bm25, dense, sparse, scores 'minilmm'",
        ),
        ({"pretrainings": {"x": {"extends": "pre-idf", "backbone": "x"}}}, "pretrainings.x.backbone: no backbone 'x'"),
        (
            {"backbones": {"x": {"extends": "minilm-l2", "start_collection": "pydoc"}}},
            "start_collection: no collection",
        ),
        (
            {"backbones": {"x": {"extends": "minilm-l2", "vocabulary": ["pydocs", "pydoc"]}}},
            "config: backbones.x.vocabulary: no collection with documents of its own 'pydoc'; did you mean 'pydocs'?",
        ),
        (
            {"tables": table(rows=[{"system": "our"}])},
            "tables.t.rows: no experiment, released checkpoint, teacher or ensemble 'our'; did you",
        ),
        (
            {"tables": table(rows=[{"system": "ours", "compare": ["bm25"]}])},
            "tables.t.rows.ours.compare: no row 'bm25'",
        ),
        (
            {"tables": table(columns=[{"measure": "AP", "collection": "x"}])},
            "tables.t.columns: no collection or group 'x'",
        ),
        (
            {"figures": {"f": {"extends": "activation", "systems": ["bm25"]}}},
            "figures.f.systems: no experiment or released checkpoint 'bm25'",
        ),
        ({"figures": {"f": {"extends": "activation", "collection": "x"}}}, "figures.f.collection: no collection 'x'"),
        (
            {"explanations": {"e": {"extends": "pydocs", "systems": ["minilm"]}}},
            "explanations.e.systems: no experiment",
        ),
        (
            {"explanations": {"e": {"extends": "pydocs", "baseline": "bm"}}},
            "explanations.e.baseline: no experiment, released checkpoint, teacher",
        ),
        (
            {"explanations": {"e": {"extends": "pydocs", "measure": "nDGC@10"}}},
            "explanations.e.measure: 'nDGC@10' is no measure of runs; valid: ",
        ),
        (
            {"explanations": {"e": {"extends": "ours-against-doc-distill", "measure": "P@7"}}},
            "explanations.e.measure: P@7 is not among `measures`, so no run is evaluated with it; add it",
        ),
        (
            {
                "expected": [
                    {"system": "x", "collection": "pydocs", "measure": "AP", "value": 1, "tolerance": 1, "source": ""}
                ]
            },
            "expected.system: no experiment, released checkpoint, teacher or ensemble 'x'",
        ),
    ],
)
def test_unknown_names_name_the_nearest(config: Config, message: str) -> None:
    assert message in told(**config)


def test_a_name_stands_for_one_thing() -> None:
    assert told(experiments={"bm25": {"extends": "ours"}}).startswith("config: teachers.bm25: experiments has an entry")
    clash = {"minilm-l2": {"extends": "pre-idf"}}
    assert told(pretrainings=clash).startswith("config: pretrainings.minilm-l2: backbones has an entry of that name")


def test_training_that_cannot_work() -> None:
    assert "documents_per_query: 1 with in_batch: none" in told(experiments=experiment(documents_per_query=1))
    alone = experiment(documents_per_query=1, in_batch="negatives", infonce_weight=1, kl_weight=0)
    assert "documents_per_query: 1 with in_batch: negatives" in told(experiments=alone)
    lonely = experiment(documents_per_query=1, queries_per_step=1, in_batch="documents")
    assert "documents_per_query: 1 with queries_per_step: 1 leaves nothing" in told(experiments=lonely)


def test_query_sides_name_what_they_need() -> None:
    splade = {"extends": "ours", "query_side": "splade", "query_encoder": "separate", "query_backbone": "minilm-l2"}
    study = load(experiments={"x": splade | {"idf": None}})
    found = upstream(study, "models/x/seed-0")
    assert found["query_start"] == ["backbones/minilm-l2"]
    assert "idf" not in found
    with pytest.raises(UserError, match=r"experiments\.x\.query_backbone: no backbone 'minilm-12'"):
        load(experiments={"x": splade | {"query_backbone": "minilm-12"}})
    with pytest.raises(UserError, match=r"experiments\.x: query_side: idf needs an IDF table: set `idf`"):
        load(experiments={"x": {"extends": "ours", "idf": None}})
