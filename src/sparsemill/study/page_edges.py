"""Inputs of figures, explanations and the last checks: see `sparsemill.study.edges`."""

from sparsemill.study.models import Study
from sparsemill.study.retrieval_edges import Edges, documents_of, model_of_system, query_side, vector_shards
from sparsemill.study.specs import system_engine, variants


def of_figure(study: Study, name: str) -> Edges:
    """What a figure shows."""
    figure = study.figures[name]
    if figure.kind != "activation":
        return {"tidy": ["tidy"]}
    found: Edges = {}
    for number, system in enumerate(figure.systems):
        variant = variants(study, system)[0]
        found[f"vectors_{number}"] = vector_shards(study, system, variant, figure.collection)
        found[f"model_{number}"] = model_of_system(study, system, variant)
    return found


def of_explanation(study: Study, name: str) -> Edges:
    """Runs, vectors and models of the systems that are explained."""
    chosen = study.explanations[name]
    found: Edges = {"collection": documents_of(study, chosen.collection)}
    for number, system in enumerate(chosen.systems):
        variant = variants(study, system)[0]
        run = f"runs/{system}/{variant}/{chosen.collection}/{system_engine(study, system)}"
        sides = query_side(study, system, variant, chosen.collection)
        found |= {f"run_{number}": [run], f"vectors_{number}": vector_shards(study, system, variant, chosen.collection)}
        found |= {f"{side}_{number}": keys for side, keys in sides.items()}
        if chosen.pick == "extremes":
            found[f"evaluation_{number}"] = [run.replace("runs/", "evaluations/", 1)]
    if chosen.baseline is not None:
        engine = system_engine(study, chosen.baseline)
        variant = variants(study, chosen.baseline)[0]
        found["run_baseline"] = [f"runs/{chosen.baseline}/{variant}/{chosen.collection}/{engine}"]
    return found


def of_verified(study: Study) -> Edges:
    """Everything that the files and MLflow must agree on."""
    return {
        "tidy": ["tidy"],
        "store": ["store"],
        "published": ["published"],
        "tables": [f"tables/{table}" for table in study.tables],
        "significance": [f"significance/{table}" for table in study.tables],
    }
