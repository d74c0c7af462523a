"""The spec of any artefact by its key, as the rules cut them."""

from collections.abc import Callable

from sparsemill.files import canonical_json
from sparsemill.study import pages, specs
from sparsemill.study.models import Study


def spec_of(study: Study, key: str) -> str:
    """The spec of an artefact, as its rule cuts it."""
    return canonical_json(_spec(study, key.split("/")))


def _spec(study: Study, parts: list[str]) -> specs.Spec:
    kind, rest = parts[0], parts[1:]
    by_name: dict[str, Callable[..., specs.Spec]] = {
        "collections": specs.fetch_collection,
        "backbones": specs.prepare_backbone,
        "idfs": specs.count_idf,
        "mining": specs.search_training,
        "candidates": specs.mine_candidates,
        "false_negatives": specs.find_false_negatives,
        "significance": specs.test_significance,
        "tables": specs.render_table,
        "figures": specs.plot_figure,
        "explain": specs.explain_queries,
        "runs": specs.search,
        "evaluations": specs.evaluate_run,
        "sparsity": specs.measure_sparsity,
        "latency": specs.measure_latency,
        "index_size": specs.measure_index_size,
        "engine_time": specs.measure_engine_time,
        "serving": specs.measure_serving,
        "tidy": specs.collect_results,
        "collection_pages": pages.collection_page,
        "sweeps": pages.sweep_page,
        "pages": pages.report_pages,
        "expected": specs.check_expected,
        "store": specs.mlflow_init,
        "published": specs.publish,
        "verified": specs.verify_tracking,
    }
    if kind in by_name:
        return by_name[kind](study, *rest)
    number = parts[-1].rpartition("-")[2]
    match kind:
        case "embeddings":
            return specs.embed_teacher(study, rest[0], number)
        case "scores":
            return specs.score_teacher(study, rest[1], number)
        case "normalized":
            return specs.normalize_scores(study, rest[2])
        case "targets":
            return specs.aggregate_scores(study, rest[1])
        case "pretrained":
            return specs.pretrain(study, rest[0], number)
        case "models":
            return specs.finetune(study, rest[0], number)
        case "vectors":
            return specs.encode_corpus(study, rest[0], number)
        case "indexes":
            return specs.build_index(study, rest[0], rest[3])
    raise AssertionError(kind)
