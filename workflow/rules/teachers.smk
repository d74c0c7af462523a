# Candidates, and what the teachers say of them.
rule search_training:
    # The run of BM25 or of a trained retriever over the training queries.
    input:
        unpack(parents("mining/{training_set}/{miner}")),
    output:
        manifest=path("mining/{training_set}/{miner}/manifest.json"),
        run=path("mining/{training_set}/{miner}/run.trec"),
    log:
        path("logs/mining/{training_set}/{miner}.log"),
    benchmark:
        path("benchmarks/mining/{training_set}/{miner}.tsv")
    wildcard_constraints:
        miner=anyof(sparse_systems),
    conda:
        "../../envs/lucene.yaml"
    threads: mining_threads
    resources:
        gpu=query_gpus,
        mem_mb=4000,
    params:
        inputs=inputs("mining/{training_set}/{miner}"),
        out=out("mining/{training_set}/{miner}"),
        key=key("mining/{training_set}/{miner}"),
        spec=spec(specs.search_training, "training_set", "miner"),
    shell:
        command("search")


rule search_training_dense:
    # The run of a dense or sparse teacher over the training queries, by exhaustive search.
    input:
        unpack(parents("mining/{training_set}/{miner}")),
    output:
        manifest=path("mining/{training_set}/{miner}/manifest.json"),
        run=path("mining/{training_set}/{miner}/run.trec"),
    log:
        path("logs/mining/{training_set}/{miner}.log"),
    benchmark:
        path("benchmarks/mining/{training_set}/{miner}.tsv")
    wildcard_constraints:
        miner=anyof(embedded_systems),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("mining/{training_set}/{miner}"),
        out=out("mining/{training_set}/{miner}"),
        key=key("mining/{training_set}/{miner}"),
        spec=spec(specs.search_training, "training_set", "miner"),
    shell:
        command("search_dense")


rule list_scored:
    # What a file of scores has for the training queries, best first.
    input:
        unpack(parents("mining/{training_set}/{miner}")),
    output:
        manifest=path("mining/{training_set}/{miner}/manifest.json"),
        run=path("mining/{training_set}/{miner}/run.trec"),
    log:
        path("logs/mining/{training_set}/{miner}.log"),
    benchmark:
        path("benchmarks/mining/{training_set}/{miner}.tsv")
    wildcard_constraints:
        miner=anyof(score_files),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        inputs=inputs("mining/{training_set}/{miner}"),
        out=out("mining/{training_set}/{miner}"),
        key=key("mining/{training_set}/{miner}"),
        spec=spec(specs.search_training, "training_set", "miner"),
    shell:
        command("list_scored")


rule mine_candidates:
    # Candidate lists; the consistency filter keeps queries whose positive a miner finds.
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


rule count_pairs:
    # Tuples of a training set's sources, and the queries that filter and sampling leave.
    input:
        unpack(parents("training_pairs/{training_set}")),
    output:
        manifest=path("training_pairs/{training_set}/manifest.json"),
        counts=path("training_pairs/{training_set}/training_pairs.json"),
    log:
        path("logs/training_pairs/{training_set}.log"),
    benchmark:
        path("benchmarks/training_pairs/{training_set}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("training_pairs/{training_set}"),
        out=out("training_pairs/{training_set}"),
        key=key("training_pairs/{training_set}"),
        spec=spec(specs.count_pairs, "training_set"),
    shell:
        command("count_pairs")


rule find_false_negatives:
    # Marks of candidates that a teacher takes for relevant.
    input:
        unpack(parents("false_negatives/{training_set}")),
    output:
        manifest=path("false_negatives/{training_set}/manifest.json"),
        dropped=path("false_negatives/{training_set}/dropped.npy"),
    log:
        path("logs/false_negatives/{training_set}.log"),
    benchmark:
        path("benchmarks/false_negatives/{training_set}.tsv")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("false_negatives/{training_set}"),
        out=out("false_negatives/{training_set}"),
        key=key("false_negatives/{training_set}"),
        spec=spec(specs.find_false_negatives, "training_set"),
    shell:
        command("find_false_negatives")


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
    threads: ENCODING_THREADS
    resources:
        gpu=GPUS,
        mem_mb=4000 * LARGER,
    params:
        inputs=inputs("embeddings/{teacher}/{collection}/shard-{shard}"),
        out=out("embeddings/{teacher}/{collection}/shard-{shard}"),
        key=key("embeddings/{teacher}/{collection}/shard-{shard}"),
        spec=spec(specs.embed_teacher, "teacher", "shard"),
    shell:
        command("embed_teacher")


rule train_cross_encoder:
    # A small cross-encoder, to be a teacher.
    input:
        unpack(parents("cross_encoders/{cross_encoder}")),
    output:
        manifest=path("cross_encoders/{cross_encoder}/manifest.json"),
        metrics=path("cross_encoders/{cross_encoder}/metrics.jsonl"),
        weights=path("cross_encoders/{cross_encoder}/model/model.safetensors"),
    log:
        path("logs/cross_encoders/{cross_encoder}.log"),
    benchmark:
        path("benchmarks/cross_encoders/{cross_encoder}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
    params:
        inputs=inputs("cross_encoders/{cross_encoder}"),
        out=out("cross_encoders/{cross_encoder}"),
        key=key("cross_encoders/{cross_encoder}"),
        facts=facts("cross_encoders/{cross_encoder}"),
        spec=spec(specs.train_cross_encoder, "cross_encoder"),
    shell:
        command("train_cross_encoder", marked=True)


rule score_teacher:
    # A teacher's scores of one shard of the candidates.
    input:
        unpack(parents("scores/{training_set}/{teacher}/shard-{shard}")),
    output:
        manifest=path("scores/{training_set}/{teacher}/shard-{shard}/manifest.json"),
        scores=path("scores/{training_set}/{teacher}/shard-{shard}/scores.parquet"),
    log:
        path("logs/scores/{training_set}/{teacher}/shard-{shard}.log"),
    benchmark:
        path("benchmarks/scores/{training_set}/{teacher}/shard-{shard}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: ENCODING_THREADS
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
