# Texts, tokenizers and document frequencies.
rule fetch_collection:
    # Texts, queries and judgements as Parquet, counts checked.
    input:
        unpack(parents("collections/{collection}")),
    output:
        manifest=path("collections/{collection}/manifest.json"),
        corpus=path("collections/{collection}/corpus.parquet"),
        queries=path("collections/{collection}/queries.parquet"),
        qrels=path("collections/{collection}/qrels.parquet"),
    log:
        path("logs/collections/{collection}.log"),
    benchmark:
        path("benchmarks/collections/{collection}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000 * LARGER,
    params:
        inputs=inputs("collections/{collection}"),
        out=out("collections/{collection}"),
        key=key("collections/{collection}"),
        spec=spec(specs.fetch_collection, "collection"),
    shell:
        command("fetch_collection")


rule prepare_backbone:
    # A masked language model to start from.
    input:
        unpack(parents("backbones/{backbone}")),
    output:
        manifest=path("backbones/{backbone}/manifest.json"),
        weights=path("backbones/{backbone}/model.safetensors"),
    log:
        path("logs/backbones/{backbone}.log"),
    benchmark:
        path("benchmarks/backbones/{backbone}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        inputs=inputs("backbones/{backbone}"),
        out=out("backbones/{backbone}"),
        key=key("backbones/{backbone}"),
        spec=spec(specs.prepare_backbone, "backbone"),
    shell:
        command("prepare_backbone")


rule prepare_released:
    # A released checkpoint as a retriever.
    input:
        unpack(parents("released/{released}/fixed")),
    output:
        manifest=path("released/{released}/fixed/manifest.json"),
        tokenizer=path("released/{released}/fixed/tokenizer.json"),
    log:
        path("logs/released/{released}/fixed.log"),
    benchmark:
        path("benchmarks/released/{released}/fixed.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        inputs=inputs("released/{released}/fixed"),
        out=out("released/{released}/fixed"),
        key=key("released/{released}/fixed"),
        spec=spec(specs.prepare_released, "released"),
    shell:
        command("prepare_released")


rule count_idf:
    # Inverse document frequencies of word pieces, counted or from a file.
    input:
        unpack(parents("idfs/{idf}")),
    output:
        manifest=path("idfs/{idf}/manifest.json"),
        idf=path("idfs/{idf}/idf.json"),
    log:
        path("logs/idfs/{idf}.log"),
    benchmark:
        path("benchmarks/idfs/{idf}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("idfs/{idf}"),
        out=out("idfs/{idf}"),
        key=key("idfs/{idf}"),
        spec=spec(specs.count_idf, "idf"),
    shell:
        command("count_idf")
