"""How many documents an engine can give for a query, checked before anything is searched."""

from collections.abc import Iterator

from sparsemill.errors import UserError
from sparsemill.study import plan
from sparsemill.study.measures import asked_times
from sparsemill.study.models import OpenSearchEngine, Study, TrainingSet
from sparsemill.study.models.engines import TwoPhaseSearch
from sparsemill.study.page_edges import of_explanation
from sparsemill.study.specs import in_two_phases, miner_engine


def _searches(study: Study) -> Iterator[tuple[str, str, str, int]]:
    """System, collection, engine and documents per query of what is shown or timed, and of miners in two phases."""
    pages = [of_explanation(study, name) for name in study.explanations]
    runs = [key for page in pages for keys in page.values() for key in keys if key.startswith("runs/")]
    for key in dict.fromkeys([*plan.evaluations(study), *runs]):
        _, system, _, collection, engine = key.split("/")
        yield system, collection, engine, study.depth + _itself(study, collection)
    for key in plan.times(study, "engine_time"):
        _, system, _, collection, engine = key.split("/")
        yield system, collection, engine, asked_times(study, "engine_time", system, collection, engine).numbers[-1]
    for mined in study.training_sets.values():
        if isinstance(mined, TrainingSet):
            k = mined.depth + _itself(study, mined.collection)
            for miner in mined.searchers:
                if in_two_phases(study, miner):
                    yield miner, mined.collection, miner_engine(study, miner), k


def _itself(study: Study, collection: str) -> int:
    """One more document where a query is found as well, and dropped."""
    return int(study.collections[collection].self_hits == "drop")


def _expanded(k: int, settings: TwoPhaseSearch) -> int:
    from sparsemill.retrieval.two_phase import expanded  # loads SciPy

    return expanded(k, settings.expansion_rate)


def _two_phases(study: Study, system: str, engine: str) -> tuple[str, TwoPhaseSearch | None]:
    """Where two-phase search is configured, and how; None where it is searched in one."""
    if in_two_phases(study, system):
        return f"experiments.{system}.two_phase", study.experiments[system].two_phase
    entry = study.engines.get(engine)
    if isinstance(entry, OpenSearchEngine) and entry.query == "two_phase":
        return f"engines.{engine}.two_phase", entry.two_phase
    return "", None


def check_limits(study: Study) -> None:
    """Raise a UserError for the first search that asks for more documents than its engine gives."""
    for system, collection, engine, k in _searches(study):
        most = study.engines[engine].MOST_RESULTS if engine in study.engines else k
        if k > most:
            raise UserError(
                f"config: depth: engine {engine} gives at most {most} documents of a query, but {k} are asked for on "
                f"{collection}; lower `depth`"
            )
        where, settings = _two_phases(study, system, engine)
        if settings is None:
            continue
        window = settings.max_window_size
        if engine in study.engines:
            window = min(window, most)
        if _expanded(k, settings) > window:
            raise UserError(
                f"config: {where}: {k} documents on {collection} x expansion_rate {settings.expansion_rate:g} are more "
                f"than {window}, the largest window; ask for fewer (`depth`, K of a time, what a training set mines) "
                "or lower expansion_rate"
            )
