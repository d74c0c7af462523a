# From teachers' scores to targets.
rule normalize_scores:
    # Per-query normalisation (2411.04403, Eq. 8).
    input:
        unpack(parents("normalized/{training_set}/{teacher}/{method}")),
    output:
        manifest=path("normalized/{training_set}/{teacher}/{method}/manifest.json"),
        scores=path("normalized/{training_set}/{teacher}/{method}/scores.parquet"),
    log:
        path("logs/normalized/{training_set}/{teacher}/{method}.log"),
    benchmark:
        path("benchmarks/normalized/{training_set}/{teacher}/{method}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("normalized/{training_set}/{teacher}/{method}"),
        out=out("normalized/{training_set}/{teacher}/{method}"),
        key=key("normalized/{training_set}/{teacher}/{method}"),
        spec=spec(specs.normalize_scores, "method"),
    shell:
        command("normalize_scores")


rule aggregate_scores:
    # Weighted sum of the normalised scores, times S (2411.04403, Eq. 9).
    input:
        unpack(parents("targets/{training_set}/{ensemble}")),
    output:
        manifest=path("targets/{training_set}/{ensemble}/manifest.json"),
        scores=path("targets/{training_set}/{ensemble}/scores.parquet"),
    log:
        path("logs/targets/{training_set}/{ensemble}.log"),
    benchmark:
        path("benchmarks/targets/{training_set}/{ensemble}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("targets/{training_set}/{ensemble}"),
        out=out("targets/{training_set}/{ensemble}"),
        key=key("targets/{training_set}/{ensemble}"),
        spec=spec(specs.aggregate_scores, "ensemble"),
    shell:
        command("aggregate_scores")
