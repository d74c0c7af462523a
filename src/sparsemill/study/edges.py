"""The dependency graph: which artefacts an artefact is made from.

Artefacts are named by their key, the folder below the results folder. The rules take their inputs from here, and so do
the list of what MLflow mirrors and the tests of the graph.
"""

from collections.abc import Iterable

from sparsemill.study import page_edges as pages
from sparsemill.study import plan
from sparsemill.study import retrieval_edges as retrieval
from sparsemill.study import training_edges as training
from sparsemill.study.models import Study
from sparsemill.study.retrieval_edges import Edges


def _from_source(study: Study, files: Edges) -> Edges:
    """Measured artefacts as files, or the store that holds what they say."""
    return files if study.tables_source == "files" else {"store": ["store"]}


def upstream(study: Study, key: str) -> Edges:  # noqa: PLR0911, PLR0912  (one line per kind of artefact)
    """The inputs of an artefact, by name.

    Raises:
        ValueError: the key is of no kind that a rule makes.
    """
    match key.split("/"):
        case ["collections", _] | ["store"] | ["released", _, _]:
            return {}
        case ["backbones", name]:
            return training.of_backbone(study, name)
        case ["idfs", name]:
            return training.of_idf(study, name)
        case ["embeddings", teacher, collection, _]:
            return training.of_embedding(study, teacher, collection)
        case ["mining", training_set, miner]:
            return training.of_mining(study, training_set, miner)
        case ["candidates", training_set]:
            return training.of_candidates(study, training_set)
        case ["training_pairs", training_set]:
            return training.of_pair_counts(study, training_set)
        case ["false_negatives", training_set]:
            return training.of_false_negatives(study, training_set)
        case ["scores", training_set, teacher, _]:
            return training.of_scores(study, training_set, teacher)
        case ["normalized", training_set, teacher, _]:
            return {"scores": training.score_shards(study, training_set, teacher)}
        case ["targets", training_set, name]:
            return training.of_targets(study, training_set, name)
        case ["cross_encoders", name]:
            return training.of_cross_encoder(study, name)
        case ["pretrained", name, _]:
            return training.of_pretraining(study, name)
        case ["models", name, seed]:
            return training.of_model(study, name, seed)
        case ["vectors", system, variant, collection, _]:
            return {
                "collection": [f"collections/{collection}"],
                "model": retrieval.model_of_system(study, system, variant),
            }
        case ["indexes", system, variant, collection, _]:
            return retrieval.of_index(study, system, variant, collection)
        case ["runs", system, variant, collection, engine]:
            return retrieval.of_run(study, system, variant, collection, engine)
        case ["evaluations", system, variant, collection, engine]:
            run = f"runs/{system}/{variant}/{collection}/{engine}"
            return {"run": [run], "collection": retrieval.documents_of(study, collection)}
        case ["sparsity", system, variant, collection]:
            return retrieval.of_sparsity(study, system, variant, collection)
        case ["latency", system, variant, collection]:
            return retrieval.of_latency(study, system, variant, collection)
        case ["index_size", system, variant, collection]:
            return retrieval.of_index_size(study, system, variant, collection)
        case ["engine_time" | "serving" as kind, *place]:
            return retrieval.of_times(study, kind, place)
        case ["tidy"]:
            return _from_source(study, plan.measured(study))
        case ["significance", table]:
            return _from_source(study, {"evaluations": plan.table_evaluations(study, table)})
        case ["tables", table]:
            return {"tidy": ["tidy"], "significance": [f"significance/{table}"]}
        case ["figures", figure]:
            return pages.of_figure(study, figure)
        case ["explain", name]:
            return pages.of_explanation(study, name)
        case ["expected"]:
            evaluations = plan.judged_evaluations(study)
            return {"tidy": ["tidy"], **({"evaluations": evaluations} if evaluations else {})}
        case ["collection_pages" | "sweeps", _]:
            return {"tidy": ["tidy"]}
        case ["pages"]:
            return {"artefacts": closure(study, plan.findings(study))}
        case ["published"]:
            return {"store": ["store"], "artefacts": closure(study, plan.results(study))}
        case ["verified"]:
            return pages.of_verified(study)
    raise ValueError(f"no rule makes {key!r}")


def closure(study: Study, keys: Iterable[str]) -> list[str]:
    """The artefacts and all they are made from, each once, inputs before what is made from them."""
    found: dict[str, None] = {}

    def visit(key: str) -> None:
        if key not in found:
            for group in upstream(study, key).values():
                for parent in group:
                    visit(parent)
            found[key] = None

    for key in keys:
        visit(key)
    return list(found)
