"""Front page, costs and provenance of the report, from the manifests of all artefacts."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `front.rst`, `costs.html` and `provenance.html`. Inputs: artefacts."""
    from sparsemill import manifest
    from sparsemill.files import read_json, write_text
    from sparsemill.tables import cost_page, provenance_page
    from sparsemill.tables.front_page import Page, front

    manifests = [manifest.read(folder) for folder in job.inputs["artefacts"]]
    folders = {str(one["key"]): folder for one, folder in zip(manifests, job.inputs["artefacts"], strict=True)}
    told = read_json(folders["expected"] / "verdicts.json") if "expected" in folders else {}
    verdicts = [verdict for kind in ("verdicts", "claims") for verdict in told.get(kind, [])]
    write_text(job.out / "costs.html", cost_page.page(manifests))
    write_text(job.out / "provenance.html", provenance_page.page(manifests))
    pages = [Page(*page) for page in job.spec["pages"]]
    seconds = sum(cost.seconds for cost in cost_page.costs(manifests))
    facts = [
        "Learned sparse retrieval with sparsemill. Tables compare systems: effectiveness as means over the judged "
        "queries, FLOPS (the expected number of tokens that a query and a document share), tokens per document, "
        "latency beside BM25; small letters mark significant differences after Holm's correction over the table.",
        f"{len(manifests)} artefacts, {cost_page.duration(seconds)} of computing.",
    ]
    write_text(job.out / "front.rst", front("Results", verdicts, pages, facts))
    job.facts["artefacts"] = len(manifests)


if __name__ == "__main__":
    sys.exit(main("report_pages", run, doc=__doc__))
