# sparsemill: from raw collections to the tables of two papers.
#
#   snakemake --cores all                              the embedded demo
#   snakemake --cores all --configfile my_study.yaml   your experiments
#   snakemake -n                                       how much would run
#   snakemake -n --quiet host                          each job, and why
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/ensemble.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/clusters.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/tracking.smk"


# The front page that the results came with; before there are any, what the pipeline is.
report: front_page() or "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        manifests(plan.results(study)),
        # What was read from the store is not published into it.
        manifests(["verified"] if study.tables_source == "files" else []),


rule tables:
    input:
        manifests(f"tables/{table}" for table in study.tables),


rule figures:
    input:
        manifests(f"figures/{figure}" for figure in study.figures),


rule tables_demo:
    # All tables and figures of both papers, with verdicts, at demo scale: config/overlays/papers_demo.yaml.
    input:
        manifests(plan.results(study)),


rule paper_inference_free:
    # Tables, figures and verdicts of 2411.04403, at the scale that `--config scale=...` chooses.
    input:
        manifests(plan.of_paper(study, targets.PAPERS["paper_inference_free"])),


rule paper_splade_pp:
    # The same of 2205.04733.
    input:
        manifests(plan.of_paper(study, targets.PAPERS["paper_splade_pp"])),


rule verify:
    # Print the verdicts; fails where one fails, and loses nothing: they and all results stay.
    input:
        manifests(key for key in plan.results(study) if key == "expected"),
    log:
        path("logs/verify.log"),
    conda:
        "envs/tables.yaml"
    params:
        results=lambda wildcards: str(RESULTS),
        due=lambda wildcards: "" if "expected" in plan.results(study) else "--none-due",
    shell:
        "python -m sparsemill.verify {params.results:q} {params.due} 2>&1 | tee {log:q}"
