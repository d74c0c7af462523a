# Candidates, and what the teachers say of them.
rule search_training:
    # The miner's run over the training queries.
    input:
        unpack(parents("mining/{training_set}")),
    output:
        manifest=path("mining/{training_set}/manifest.json"),
        run=path("mining/{training_set}/run.trec"),
    log:
        path("logs/mining/{training_set}.log"),
    benchmark:
        path("benchmarks/mining/{training_set}.tsv")
    conda:
        "../../envs/lucene.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("mining/{training_set}"),
        out=out("mining/{training_set}"),
        key=key("mining/{training_set}"),
        spec=spec(specs.search_training, "training_set"),
    shell:
        command("search")


rule mine_candidates:
    # Candidate lists; the consistency filter keeps queries whose positive the miner finds.
    input:
        unpack(parents("candidates/{training_set}")),
    output:
        manifest=path("candidates/{training_set}/manifest.json"),
        candidates=path("candidates/{training_set}/candidates.parquet"),
    log:
        path("logs/candidates/{training_set}.log"),
    benchmark:
        path("benchmarks/candidates/{training_set}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("candidates/{training_set}"),
        out=out("candidates/{training_set}"),
        key=key("candidates/{training_set}"),
        spec=spec(specs.mine_candidates, "training_set"),
    shell:
        command("mine_candidates")


rule embed_teacher:
    # Cached embeddings of a siamese teacher (BM25, dense, sparse) for one shard of a collection.
    input:
        unpack(parents("embeddings/{teacher}/{collection}/shard-{shard}")),
    output:
        manifest=path("embeddings/{teacher}/{collection}/shard-{shard}/manifest.json"),
    log:
        path("logs/embeddings/{teacher}/{collection}/shard-{shard}.log"),
    benchmark:
        path("benchmarks/embeddings/{teacher}/{collection}/shard-{shard}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
    params:
        inputs=inputs("embeddings/{teacher}/{collection}/shard-{shard}"),
        out=out("embeddings/{teacher}/{collection}/shard-{shard}"),
        key=key("embeddings/{teacher}/{collection}/shard-{shard}"),
        spec=spec(specs.embed_teacher, "teacher", "shard"),
    shell:
        command("embed_teacher")


rule score_teacher:
    # A teacher's scores of one shard of the candidates.
    input:
        unpack(parents("scores/{training_set}/{teacher}/shard-{shard}")),
        files=lambda wildcards: plan.score_files(study, wildcards.teacher),
    output:
        manifest=path("scores/{training_set}/{teacher}/shard-{shard}/manifest.json"),
        scores=path("scores/{training_set}/{teacher}/shard-{shard}/scores.parquet"),
    log:
        path("logs/scores/{training_set}/{teacher}/shard-{shard}.log"),
    benchmark:
        path("benchmarks/scores/{training_set}/{teacher}/shard-{shard}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=2000,
    params:
        inputs=inputs("scores/{training_set}/{teacher}/shard-{shard}"),
        out=out("scores/{training_set}/{teacher}/shard-{shard}"),
        key=key("scores/{training_set}/{teacher}/shard-{shard}"),
        spec=spec(specs.score_teacher, "teacher", "shard"),
    shell:
        command("score_teacher")
