# Measures of runs, vectors and indexes.
rule evaluate_run:
    # Effectiveness, per query and mean.
    input:
        unpack(parents("evaluations/{system}/{variant}/{collection}/{engine}")),
    output:
        manifest=path("evaluations/{system}/{variant}/{collection}/{engine}/manifest.json"),
        measures=path("evaluations/{system}/{variant}/{collection}/{engine}/measures.json"),
        per_query=path("evaluations/{system}/{variant}/{collection}/{engine}/per_query.parquet"),
    log:
        path("logs/evaluations/{system}/{variant}/{collection}/{engine}.log"),
    benchmark:
        path("benchmarks/evaluations/{system}/{variant}/{collection}/{engine}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("evaluations/{system}/{variant}/{collection}/{engine}"),
        out=out("evaluations/{system}/{variant}/{collection}/{engine}"),
        key=key("evaluations/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.evaluate_run, "system", "variant", "collection", "engine"),
    shell:
        command("evaluate_run")


rule measure_sparsity:
    # FLOPS, tokens per document and per query.
    input:
        unpack(parents("sparsity/{system}/{variant}/{collection}")),
    output:
        manifest=path("sparsity/{system}/{variant}/{collection}/manifest.json"),
        sparsity=path("sparsity/{system}/{variant}/{collection}/sparsity.json"),
    log:
        path("logs/sparsity/{system}/{variant}/{collection}.log"),
    benchmark:
        path("benchmarks/sparsity/{system}/{variant}/{collection}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("sparsity/{system}/{variant}/{collection}"),
        out=out("sparsity/{system}/{variant}/{collection}"),
        key=key("sparsity/{system}/{variant}/{collection}"),
        spec=spec(specs.measure_sparsity, "system", "variant", "collection"),
    shell:
        command("measure_sparsity")


rule measure_index_size:
    # Bytes of an engine's index.
    input:
        unpack(parents("index_size/{system}/{variant}/{collection}")),
    output:
        manifest=path("index_size/{system}/{variant}/{collection}/manifest.json"),
        size=path("index_size/{system}/{variant}/{collection}/index_size.json"),
    log:
        path("logs/index_size/{system}/{variant}/{collection}.log"),
    benchmark:
        path("benchmarks/index_size/{system}/{variant}/{collection}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("index_size/{system}/{variant}/{collection}"),
        out=out("index_size/{system}/{variant}/{collection}"),
        key=key("index_size/{system}/{variant}/{collection}"),
        spec=spec(specs.measure_index_size, "system", "variant", "collection"),
    shell:
        command("measure_index_size")


rule measure_latency:
    # Query latency beside BM25, query by query in one process, alone on the machine.
    input:
        unpack(parents("latency/{system}/{variant}/{collection}")),
    output:
        manifest=path("latency/{system}/{variant}/{collection}/manifest.json"),
        latency=path("latency/{system}/{variant}/{collection}/latency.json"),
    log:
        path("logs/latency/{system}/{variant}/{collection}.log"),
    benchmark:
        path("benchmarks/latency/{system}/{variant}/{collection}.tsv")
    conda:
        "../../envs/lucene.yaml"
    threads: workflow.cores
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("latency/{system}/{variant}/{collection}"),
        out=out("latency/{system}/{variant}/{collection}"),
        key=key("latency/{system}/{variant}/{collection}"),
        spec=spec(specs.measure_latency, "system", "variant", "collection"),
    shell:
        command("measure_latency")


rule measure_engine_time:
    # An engine's time alone beside BM25, query by query in one thread, alone on the machine.
    input:
        unpack(parents("engine_time/{system}/{variant}/{collection}/{engine}")),
    output:
        manifest=path("engine_time/{system}/{variant}/{collection}/{engine}/manifest.json"),
        measured=path("engine_time/{system}/{variant}/{collection}/{engine}/engine_time.json"),
    log:
        path("logs/engine_time/{system}/{variant}/{collection}/{engine}.log"),
    benchmark:
        path("benchmarks/engine_time/{system}/{variant}/{collection}/{engine}.tsv")
    conda:
        "../../envs/lucene.yaml"
    threads: workflow.cores
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("engine_time/{system}/{variant}/{collection}/{engine}"),
        out=out("engine_time/{system}/{variant}/{collection}/{engine}"),
        key=key("engine_time/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.measure_engine_time, "system", "variant", "collection", "engine"),
    shell:
        command("measure_engine_time")


rule measure_serving:
    # What clients of a server on this machine see, alone on the machine.
    input:
        unpack(parents("serving/{system}/{variant}/{collection}/{engine}")),
    output:
        manifest=path("serving/{system}/{variant}/{collection}/{engine}/manifest.json"),
        measured=path("serving/{system}/{variant}/{collection}/{engine}/serving.json"),
    log:
        path("logs/serving/{system}/{variant}/{collection}/{engine}.log"),
    benchmark:
        path("benchmarks/serving/{system}/{variant}/{collection}/{engine}.tsv")
    conda:
        "../../envs/lucene.yaml"
    threads: workflow.cores
    resources:
        mem_mb=6000,
    params:
        inputs=inputs("serving/{system}/{variant}/{collection}/{engine}"),
        out=out("serving/{system}/{variant}/{collection}/{engine}"),
        key=key("serving/{system}/{variant}/{collection}/{engine}"),
        spec=spec(specs.measure_serving, "system", "variant", "collection", "engine"),
    shell:
        command("measure_serving")
