# Measuring: what is found of the cells of one forget set and training seed, by stage, so that
# a new metric reruns its own stage and trains nothing.


rule score:
    """Accuracies, AUS and distance to the oracle, from stored logits."""
    input:
        cells_to_score,
        split=forget_set,
    output:
        group("scores", "{part}"),
    log:
        results(
            "logs/score/{experiment}/{scenario}/{split}/train-{train_seed}{part}.log"
        ),
    priority: early(40)  # a part is scored before the next one is run
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes,
        mem_mb=memory("score", logits_mb),
    params:
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=compared(scored),
        oracle=oracle_among(scored),
        half=lambda w: (
            f"--test-half {half}" if (half := experiment_of(w).test_half) else ""
        ),
        code=code("score"),
    message:
        "score {wildcards.split} of {wildcards.experiment}, train seed {wildcards.train_seed}"
    shell:
        "python -m unlearning score --folder {params.folder} --cells {params.cells:q}"
        " {params.oracle} {params.half} --split {input.split} --out {output} > {log} 2>&1"


rule attack:
    """Membership inference, from stored logits and the shadow models'."""
    input:
        group_outputs,
        split=forget_set,
        shadows=pool_of,
    output:
        group("attacks"),
    log:
        results("logs/attack/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    priority: early(5)
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes,
        mem_mb=memory("attack", logits_mb),
    params:
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=names_of,
        variance=variance_of,
        code=code("attack"),
    message:
        "attack {wildcards.split} of {wildcards.experiment}, train seed {wildcards.train_seed}"
    shell:
        "python -m unlearning attack --folder {params.folder} --cells {params.cells:q}"
        " --shadows {input.shadows} --variance {params.variance}"
        " --split {input.split} --out {output} > {log} 2>&1"


rule probe:
    """Embeddings beside the oracle's, and the steps to relearn, from stored models."""
    input:
        cells_to_probe,
        data=data_of,
        split=forget_set,
    output:
        group("probes"),
    log:
        results("logs/probe/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    priority: early(5)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=compared(group_of),
        oracle=oracle_among(group_of),
        code=probe_code,
    message:
        "probe {wildcards.split} of {wildcards.experiment}, train seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning probe --data {input.data} --split {input.split}"
        " --folder {params.folder} --cells {params.cells:q} {params.oracle}"
        " --threads {threads} --out {output} > {log} 2>&1"


rule ensemble:
    """What takes the models of every training seed: KLOM and U-LiRA."""
    input:
        ensemble_inputs,
        split=forget_set,
    output:
        results("{experiment}/ensembles/{scenario}/{split}.json"),
    log:
        results("logs/ensemble/{experiment}/{scenario}/{split}.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes,
        mem_mb=memory("attack", logits_mb),  # not measured: no embedded run has ensembles
    params:
        folder=results("{experiment}/runs/{scenario}/{split}"),
        cells=ensemble_cells,
        variance=ensemble_variance_of,
        code=code("ensemble"),
    message:
        "compare the models of all seeds on {wildcards.split} of {wildcards.experiment}"
    shell:
        "python -m unlearning ensemble --folder {params.folder} --cells {params.cells:q}"
        " --split {input.split} --variance {params.variance} --out {output} > {log} 2>&1"
