# Training: originals on all training images, oracles on those that a split retains, shadow
# models on random halves of all images.


rule train_original:
    """Train an original model; an interrupted training resumes."""
    input:
        unpack(job("train_original", "inputs")),
    output:
        **made("train_original"),
    log:
        log_of("train_original"),
    priority: early(50)  # everything waits for it
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        options=job("train_original", "options"),
        settings=settings("train_original"),
        code=job("train_original", "code_sha256"),
    message:
        "train {wildcards.trunk} of {wildcards.experiment}, seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning train --data {input.data} {params.options}"
        " --settings {params.settings:q}"
        " --model {output.model} --record {output.record} > {log} 2>&1"


use rule train_original as train_oracle with:
    input:
        unpack(job("train_oracle", "inputs")),
    output:
        **made("train_oracle"),
    log:
        log_of("train_oracle"),
    priority: early(30)
    params:
        options=job("train_oracle", "options"),
        settings=settings("train_oracle"),
        code=job("train_oracle", "code_sha256"),
    message:
        "retrain the oracle of {wildcards.experiment} without {wildcards.split},"
        " seed {wildcards.train_seed}"


rule evaluate:
    """An original's logits on all images, for every cell that starts from it."""
    input:
        unpack(job("evaluate", "inputs")),
    output:
        **made("evaluate"),
    log:
        log_of("evaluate"),
    priority: early(50)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        settings=settings("evaluate"),
        code=job("evaluate", "code_sha256"),
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
        unpack(job("train_shadow", "inputs")),
    output:
        **made("train_shadow"),
    log:
        log_of("train_shadow"),
    priority: early(5)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        options=job("train_shadow", "options"),
        settings=settings("train_shadow"),
        code=job("train_shadow", "code_sha256"),
    message:
        "train shadow model {wildcards.shadow} of {wildcards.experiment}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning shadow --data {input.data} {params.options}"
        " --settings {params.settings:q}"
        " --outputs {output.outputs} --record {output.record} > {log} 2>&1"
