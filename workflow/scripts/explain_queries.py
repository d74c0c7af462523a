"""Show what trained retrievers do with a few test queries, on one page."""

import sys
from typing import Any

from sparsemill import manifest
from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `explain.html`.

    Inputs: `collection`; of each system `run_<i>`, `vectors_<i>` (shards), `model_<i>` and, if it replaces the query
    weights, `idf_<i>`; where extremes are picked, `evaluation_<i>`; `run_baseline`, if ranks are compared.
    """
    from sparsemill.data.collection import read_corpus, read_qrels, read_queries
    from sparsemill.files import write_text
    from sparsemill.retrieval.runs import read_run
    from sparsemill.tables.explain import explain, needed_documents
    from sparsemill.tables.explain_page import page

    spec, collection = job.spec, job.input("collection")
    qrels = read_qrels(collection, split=spec["split"])
    queries, notes = pick_queries(job, read_queries(collection, split=spec["split"]), qrels)
    runs = [read_run(job.input(f"run_{number}") / "run.trec") for number in range(len(spec["systems"]))]
    wanted = needed_documents(queries, runs)
    documents = {document.id: document for document in read_corpus(collection) if document.id in wanted}
    systems = [
        read_system(job, number, runs[number], needed_documents(queries, [runs[number]])) for number in range(len(runs))
    ]
    baseline = None
    if "run_baseline" in job.inputs:
        baseline = (label(job, spec["baseline"]), read_run(job.input("run_baseline") / "run.trec"))
    options = {"relevance": spec["relevance"], "baseline": baseline, "notes": notes}
    explained = explain(queries, systems, documents, qrels, **options)
    title = f"How {label(job, spec['systems'][0]) if len(systems) == 1 else 'the retrievers'} read queries"
    text = page(explained, title=title, collection=spec["collection"], **how_picked(job, notes))
    write_text(job.out / "explain.html", text)
    job.facts["queries"] = [query.id for query in queries]


def pick_queries(job: Job, queries: Any, qrels: Any) -> tuple[Any, dict[str, str]]:
    """The queries shown, and why each was picked."""
    from sparsemill.evaluation.significance import read_per_query
    from sparsemill.tables.explain import choose_queries, extreme_queries

    spec = job.spec
    if spec.get("pick", "hash") == "hash":
        return choose_queries(queries, qrels, count=spec["queries"], relevance=spec["relevance"]), {}
    measure, values = spec.get("measure", "nDCG@10"), []
    for number, system in enumerate(spec["systems"]):
        folder = job.input(f"evaluation_{number}")
        engine = manifest.read(folder)["spec"]["engine"]
        found = read_per_query([folder], measure=measure, engines={system: engine})
        values.append(found[system, spec["collection"]])
    notes = extreme_queries(queries, values, count=spec["queries"], measure=measure)
    known = {query.id: query for query in queries}
    return [known[name] for name in notes], notes


def how_picked(job: Job, notes: dict[str, str]) -> dict[str, Any]:
    """What the page says of its queries, and whether systems stand side by side."""
    if not notes:
        return {}
    first, *others = (label(job, system) for system in job.spec["systems"])
    against = f" against {others[0]}" if others else ""
    return {"picked": f"the best and the worst of {first}{against}", "beside": len(others) > 0}


def label(job: Job, system: str) -> str:
    """A system's name for readers."""
    return str(job.spec["labels"].get(system, system))


def read_system(job: Job, number: int, results: Any, wanted: set[str]) -> Any:
    """The side of the page that belongs to the system of that number."""
    from sparsemill.retrieval.queries import open_queries
    from sparsemill.tables.explain import System, read_vectors
    from sparsemill.tables.tokens import Tokens

    system = job.spec["systems"][number]
    idf = job.input(f"idf_{number}") / "idf.json" if f"idf_{number}" in job.inputs else None
    folder, encoders = job.input(f"model_{number}"), job.spec.get("encoders", {})
    settings = {"query_length": job.spec["query_lengths"][system]}
    settings |= {"encoder": encoders[system]} if system in encoders else {}
    settings |= {key: job.spec[key][system] for key in ("special_tokens",) if system in job.spec.get(key, {})}
    tokens = Tokens(folder, open_queries(folder, settings, idf=idf, threads=job.threads))
    vectors = read_vectors(job.inputs[f"vectors_{number}"], wanted, tokens.vocabulary)
    return System(label(job, system), results, vectors, tokens.weigh, tokens.split)


if __name__ == "__main__":
    sys.exit(main("explain_queries", run, doc=__doc__))
