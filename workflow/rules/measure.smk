# Measuring: what is found of the cells of one forget set and training seed, by stage, so that
# a new metric reruns its own stage and trains nothing.


rule score:
    """Accuracies, AUS and distance to the oracle, from stored logits."""
    input:
        unpack(job("score", "inputs")),
    output:
        made("score")["out"],
    log:
        log_of("score"),
    priority: early(40)  # a part is scored before the next one is run
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(2, cells_mb, mb=500),
        mem_mb=memory("score", cells_mb),
    params:
        options=job("score", "options"),
        code=code("score"),
    message:
        "score {wildcards.split} of {wildcards.experiment}, train seed {wildcards.train_seed}"
    shell:
        "python -m unlearning score {params.options} --split {input.split} --out {output} > {log} 2>&1"


rule attack:
    """Membership inference, from stored logits and the shadow models'."""
    input:
        unpack(job("attack", "inputs")),
    output:
        made("attack")["out"],
    log:
        log_of("attack"),
    priority: early(5)
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(10, logits_mb, mb=50),
        mem_mb=memory("attack", logits_mb),
    params:
        options=job("attack", "options"),
        code=code("attack"),
    message:
        "attack {wildcards.split} of {wildcards.experiment}, train seed {wildcards.train_seed}"
    shell:
        "python -m unlearning attack {params.options} --shadows {input.shadows}"
        " --split {input.split} --out {output} > {log} 2>&1"


rule probe:
    """Embeddings beside the oracle's, and the steps to relearn, from stored models."""
    input:
        unpack(job("probe", "inputs")),
    output:
        made("probe")["out"],
    log:
        log_of("probe"),
    priority: early(5)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        options=job("probe", "options"),
        code=job("probe", "code_sha256"),
    message:
        "probe {wildcards.split} of {wildcards.experiment}, train seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning probe --data {input.data} --split {input.split}"
        " {params.options} --threads {threads} --out {output} > {log} 2>&1"


rule ensemble:
    """What takes the models of every training seed: KLOM and U-LiRA."""
    input:
        unpack(job("ensemble", "inputs")),
    output:
        made("ensemble")["out"],
    log:
        log_of("ensemble"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(10, logits_mb, mb=50),
        mem_mb=memory("attack", logits_mb),  # not measured: no embedded run has ensembles
    params:
        options=job("ensemble", "options"),
        code=code("ensemble"),
    message:
        "compare the models of all seeds on {wildcards.split} of {wildcards.experiment}"
    shell:
        "python -m unlearning ensemble {params.options}"
        " --split {input.split} --out {output} > {log} 2>&1"
