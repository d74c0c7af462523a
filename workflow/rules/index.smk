# Vectors, indexes and runs.
rule encode_corpus:
    # Sparse vectors of one shard of a collection.
    input:
        unpack(parents("vectors/{system}/{variant}/{collection}/shard-{shard}")),
    output:
        manifest=path("vectors/{system}/{variant}/{collection}/shard-{shard}/manifest.json"),
        vectors=path("vectors/{system}/{variant}/{collection}/shard-{shard}/vectors.npz"),
        ids=path("vectors/{system}/{variant}/{collection}/shard-{shard}/ids.txt"),
    log:
        path("logs/vectors/{system}/{variant}/{collection}/shard-{shard}.log"),
    benchmark:
        path("benchmarks/vectors/{system}/{variant}/{collection}/shard-{shard}.tsv")
    wildcard_constraints:
        system=anyof(encoded_systems),
    conda:
        "../../envs/torch.yaml"
    threads: ENCODING_THREADS
    resources:
        gpu=GPUS,
        mem_mb=4000 * LARGER,
    params:
        inputs=inputs("vectors/{system}/{variant}/{collection}/shard-{shard}"),
        out=out("vectors/{system}/{variant}/{collection}/shard-{shard}"),
        key=key("vectors/{system}/{variant}/{collection}/shard-{shard}"),
        spec=spec(specs.encode_corpus, "system", "shard"),
    shell:
        command("encode_corpus")


rule build_index:
    # An engine's index, its statistics checked against the vectors.
    input:
        unpack(parents("indexes/{system}/{variant}/{collection}/{engine}")),
    output:
        manifest=path("indexes/{system}/{variant}/{collection}/{engine}/manifest.json"),
    log:
        path("logs/indexes/{system}/{variant}/{collection}/{engine}.log"),
    benchmark:
        path("benchmarks/indexes/{system}/{variant}/{collection}/{engine}.tsv")
    wildcard_constraints:
        system=anyof(sparse_systems),
        engine="lucene|exact|seismic",
    conda:
        "../../envs/lucene.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("indexes/{system}/{variant}/{collection}/{engine}"),
        out=out("indexes/{system}/{variant}/{collection}/{engine}"),
        key=key("indexes/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.build_index, "system", "engine"),
    shell:
        command("build_index")


rule search:
    # The run of BM25, or of a trained or released retriever.
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
        system=anyof(sparse_systems),
        engine="lucene|exact|seismic",
    conda:
        "../../envs/lucene.yaml"
    threads: 1
    resources:
        gpu=query_gpus,
        mem_mb=4000,
    params:
        inputs=inputs("runs/{system}/{variant}/{collection}/{engine}"),
        out=out("runs/{system}/{variant}/{collection}/{engine}"),
        key=key("runs/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.search, "system", "variant", "collection", "engine"),
    shell:
        command("search")


rule search_dense:
    # The run of a dense or sparse teacher, by exhaustive search.
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
        system=anyof(embedded_systems),
        engine="exact",
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("runs/{system}/{variant}/{collection}/{engine}"),
        out=out("runs/{system}/{variant}/{collection}/{engine}"),
        key=key("runs/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.search, "system", "variant", "collection", "engine"),
    shell:
        command("search_dense")


rule fuse_runs:
    # The run of an ensemble: its teachers' runs, normalised and added.
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
        system=anyof(study.ensembles),
        engine="fusion",
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("runs/{system}/{variant}/{collection}/{engine}"),
        out=out("runs/{system}/{variant}/{collection}/{engine}"),
        key=key("runs/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.search, "system", "variant", "collection", "engine"),
    shell:
        command("fuse_runs")
