# Pre-training and fine-tuning. With `--set-resources finetune:processes=8` (see profiles/multi-gpu) torchrun starts eight
# processes, or fewer that divide a step's queries, one GPU each; they share these, and the result is that of one process.
rule pretrain:
    # Pre-train with in-batch rows; siamese teachers through cached embeddings.
    input:
        unpack(parents("pretrained/{pretraining}/seed-{seed}")),
    output:
        manifest=path("pretrained/{pretraining}/seed-{seed}/manifest.json"),
        metrics=path("pretrained/{pretraining}/seed-{seed}/metrics.jsonl"),
    log:
        path("logs/pretrained/{pretraining}/seed-{seed}.log"),
    benchmark:
        path("benchmarks/pretrained/{pretraining}/seed-{seed}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        processes=1,
        mem_mb=6000,
    params:
        launcher=launcher,
        inputs=inputs("pretrained/{pretraining}/seed-{seed}"),
        out=out("pretrained/{pretraining}/seed-{seed}"),
        key=key("pretrained/{pretraining}/seed-{seed}"),
        facts=facts("pretrained/{pretraining}/seed-{seed}"),
        spec=spec(specs.pretrain, "pretraining", "seed"),
    shell:
        command("pretrain", marked=True, launched=True)


rule finetune:
    # Fine-tune on candidate lists.
    input:
        unpack(parents("models/{experiment}/seed-{seed}")),
    output:
        manifest=path("models/{experiment}/seed-{seed}/manifest.json"),
        metrics=path("models/{experiment}/seed-{seed}/metrics.jsonl"),
    log:
        path("logs/models/{experiment}/seed-{seed}.log"),
    benchmark:
        path("benchmarks/models/{experiment}/seed-{seed}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        processes=1,
        mem_mb=6000,
    params:
        launcher=launcher,
        inputs=inputs("models/{experiment}/seed-{seed}"),
        out=out("models/{experiment}/seed-{seed}"),
        key=key("models/{experiment}/seed-{seed}"),
        facts=facts("models/{experiment}/seed-{seed}"),
        spec=spec(specs.finetune, "experiment", "seed"),
    shell:
        command("finetune", marked=True, launched=True)
