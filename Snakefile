# sparsemill: from raw collections to the tables of two papers.
#
#   snakemake --cores all                              the embedded demo
#   snakemake --cores all --configfile my_study.yaml   your experiments
#   snakemake -n --quiet host                          what would run, and why
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/ensemble.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/tracking.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        manifests(plan.results(study)),
        manifest("verified"),


rule tables:
    input:
        manifests(f"tables/{table}" for table in study.tables),


rule figures:
    input:
        manifests(f"figures/{figure}" for figure in study.figures),
