# Indexes on clusters, and their runs; `results` hold what an index is called and what was found, not the index.
rule ingest:
    # Vectors into a cluster, its counts checked against them.
    input:
        unpack(parents("indexes/{system}/{variant}/{collection}/{engine}")),
    output:
        manifest=path("indexes/{system}/{variant}/{collection}/{engine}/manifest.json"),
    log:
        path("logs/indexes/{system}/{variant}/{collection}/{engine}.log"),
    benchmark:
        path("benchmarks/indexes/{system}/{variant}/{collection}/{engine}.tsv")
    wildcard_constraints:
        engine=anyof(study.engines),
    conda:
        "../../envs/clusters.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("indexes/{system}/{variant}/{collection}/{engine}"),
        out=out("indexes/{system}/{variant}/{collection}/{engine}"),
        key=key("indexes/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.build_index, "system", "engine"),
        facts=connection,
    shell:
        command("build_index", marked=True)


rule search_cluster:
    # The run of a trained retriever, from a cluster.
    input:
        unpack(parents("runs/{system}/{variant}/{collection}/{engine}")),
    output:
        manifest=path("runs/{system}/{variant}/{collection}/{engine}/manifest.json"),
        run=path("runs/{system}/{variant}/{collection}/{engine}/run.trec"),
    log:
        path("logs/runs/{system}/{variant}/{collection}/{engine}.log"),
    benchmark:
        path("benchmarks/runs/{system}/{variant}/{collection}/{engine}.tsv")
    wildcard_constraints:
        engine=anyof(study.engines),
    conda:
        "../../envs/clusters.yaml"
    threads: 1
    resources:
        gpu=query_gpus,
        mem_mb=4000,
    params:
        inputs=inputs("runs/{system}/{variant}/{collection}/{engine}"),
        out=out("runs/{system}/{variant}/{collection}/{engine}"),
        key=key("runs/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.search, "system", "variant", "collection", "engine"),
        facts=connection,
    shell:
        command("search", marked=True)
