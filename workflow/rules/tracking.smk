# The MLflow mirror.
from sparsemill.tracking.retry import due_attempt


rule mlflow_init:
    # Create the tracking store once; first of all, so that it is there when training streams to it.
    input:
        unpack(parents("store")),
    output:
        manifest=path("store/manifest.json"),
    log:
        path("logs/store.log"),
    benchmark:
        path("benchmarks/store.tsv")
    priority: 100
    conda:
        "../../envs/mlflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("store"),
        out=out("store"),
        key=key("store"),
        spec=spec(specs.mlflow_init),
    shell:
        command("mlflow_init")


rule publish:
    # Mirror every artefact and metric in MLflow; twice is a no-op.
    input:
        unpack(parents("published")),
    output:
        manifest=path("published/manifest.json"),
        receipts=path("published/receipts.json"),
    log:
        path("logs/published.log"),
    benchmark:
        path("benchmarks/published.tsv")
    conda:
        "../../envs/mlflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("published"),
        out=out("published"),
        key=key("published"),
        spec=spec(specs.publish),
        facts=lambda wildcards: canonical_json({"attempt": due_attempt(Path(path("published")), os.environ)}),
    shell:
        command("publish", marked=True)


rule verify_tracking:
    # Tables from MLflow equal tables from files.
    input:
        unpack(parents("verified")),
    output:
        manifest=path("verified/manifest.json"),
        equality=path("verified/equality.json"),
    log:
        path("logs/verified.log"),
    benchmark:
        path("benchmarks/verified.tsv")
    conda:
        "../../envs/mlflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("verified"),
        out=out("verified"),
        key=key("verified"),
        spec=spec(specs.verify_tracking),
    shell:
        command("verify_tracking")
