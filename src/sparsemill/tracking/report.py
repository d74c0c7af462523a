"""Log the HTML report, which Snakemake makes after everything else, into the study's experiment."""

import argparse
import logging
import sys
from pathlib import Path

from sparsemill.errors import UserError
from sparsemill.files import file_hash
from sparsemill.tracking.runs import Index, search, write_batch
from sparsemill.tracking.store import Store, failure, open_store, study_experiment

KEY = "report"


def log_report(store: Store, experiment: str, path: Path) -> str:
    """Upload the report into its run, which is made the first time; returns the run's id.

    The same report again writes nothing.
    """
    content = file_hash(path)[:16]
    index = Index.of(search(store, experiment))
    known = index.complete.get(KEY)
    if known is not None and known.data.tags["content"] == content:
        return str(known.info.run_id)
    begun = [known] if known is not None else index.drafts.get(KEY, [])
    run = begun[0] if begun else store.client.create_run(store.experiment(experiment), run_name=KEY, tags={"key": KEY})
    run_id: str = run.info.run_id
    store.client.log_artifact(run_id, str(path))
    note = f"The HTML report with tables, figures and provenance: *Artifacts*, `{path.name}`; download it and open it."
    write_batch(store, run_id, tags={"content": content, "level": "study", "mlflow.note.content": note})
    store.client.set_terminated(run_id)
    return run_id


def main(argv: list[str] | None = None) -> int:
    """Log a report; a store that is out of reach is a warning."""
    parser = argparse.ArgumentParser(prog="python -m sparsemill.tracking.report", description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder with `store/`")
    given = parser.parse_args(argv)
    try:
        if not given.report.is_file():
            raise UserError(f"{given.report}: no such file; make it with `snakemake --report {given.report}`")
        folder = given.results / "store"
        log_report(open_store(folder), study_experiment(folder), given.report)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        logging.getLogger("sparsemill.tracking").warning("tracking: the report is not in MLflow (%s)", failure(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
