# Training: originals on all training images, oracles on those that a split retains, shadow
# models on random halves of all images.


rule train_original:
    """Train an original model; an interrupted training goes on where it stopped."""
    input:
        unpack(trained_from),
    output:
        model=original("model.safetensors"),
        record=original("record.json"),
    log:
        results("logs/{trunk}/{experiment}/train-{train_seed}.log"),
    priority: early(50)  # everything waits for it
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        split="",
        pretrained=from_weights,
        settings=original_settings,
        code=lambda w: code("train", json.loads(original_settings(w))["arch"]),
    message:
        "train {wildcards.trunk} of {wildcards.experiment}, seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning train --data {input.data} {params.split} {params.pretrained}"
        " --settings {params.settings:q}"
        " --model {output.model} --record {output.record} > {log} 2>&1"


use rule train_original as train_oracle with:
    input:
        unpack(trained_from),
        split=forget_set,
    output:
        model=oracle("model.safetensors"),
        record=oracle("record.json"),
    log:
        results("logs/oracle/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    priority: early(30)
    params:
        split=lambda w, input: f"--split {input.split}",
        pretrained=from_weights,
        settings=oracle_settings,
        code=lambda w: code("train", experiment_of(w).arch),
    message:
        "retrain the oracle of {wildcards.experiment} without {wildcards.split},"
        " seed {wildcards.train_seed}"


rule evaluate:
    """An original's logits on all images, for every cell that starts from it."""
    input:
        data=data_of,
        start=original("model.safetensors"),
        start_record=original("record.json"),
    output:
        outputs=original("evaluated/outputs.safetensors"),
        record=original("evaluated/record.json"),
    log:
        results("logs/evaluate/{trunk}/{experiment}/train-{train_seed}.log"),
    priority: early(50)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        settings=original_settings,
        code=lambda w: code("evaluate", json.loads(original_settings(w))["arch"]),
    message:
        "evaluate {wildcards.trunk} of {wildcards.experiment}, seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning evaluate --data {input.data} --start {input.start}"
        " --start-record {input.start_record} --settings {params.settings:q}"
        " --outputs {output.outputs} --record {output.record} > {log} 2>&1"


rule train_shadow:
    """Train one shadow model of the pool that all attacks of an experiment share."""
    input:
        unpack(trained_from),
    output:
        outputs=shadow("outputs.safetensors"),
        record=shadow("record.json"),
    log:
        results("logs/shadow/{experiment}/{shadow}.log"),
    priority: early(5)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        pretrained=from_weights,
        settings=shadow_settings,
        code=lambda w: code("shadow", experiment_of(w).arch),
    message:
        "train shadow model {wildcards.shadow} of {wildcards.experiment}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning shadow --data {input.data} {params.pretrained}"
        " --settings {params.settings:q}"
        " --outputs {output.outputs} --record {output.record} > {log} 2>&1"
