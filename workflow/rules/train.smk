# Training: originals on all training images, oracles on those that a split retains.


rule train_original:
    """Train an original model; an interrupted training goes on where it stopped."""
    input:
        data=data_of,
    output:
        model=original("model.safetensors"),
        record=original("record.json"),
    log:
        results("logs/{trunk}/{experiment}/train-{train_seed}.log"),
    benchmark:
        results("logs/{trunk}/{experiment}/train-{train_seed}.benchmark.tsv")
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=resource_of("runtime"),
        mem_mb=resource_of("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        split="",
        settings=original_settings,
        code=lambda w: code("train", json.loads(original_settings(w))["arch"]),
    message:
        "train {wildcards.trunk} of {wildcards.experiment}, seed {wildcards.train_seed}"
    shell:
        "python -m unlearning train --data {input.data} {params.split}"
        " --settings {params.settings:q}"
        " --model {output.model} --record {output.record} > {log} 2>&1"


use rule train_original as train_oracle with:
    input:
        data=data_of,
        split=split_file(),
    output:
        model=oracle("model.safetensors"),
        record=oracle("record.json"),
    log:
        results("logs/oracle/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    benchmark:
        results(
            "logs/oracle/{experiment}/{scenario}/{split}/train-{train_seed}.benchmark.tsv"
        )
    params:
        split=lambda w, input: f"--split {input.split}",
        settings=oracle_settings,
        code=lambda w: code("train", experiment_of(w).arch),
    message:
        "retrain the oracle of {wildcards.experiment} without {wildcards.split},"
        " seed {wildcards.train_seed}"
