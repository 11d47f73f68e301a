# Taking models that were made elsewhere: originals, and unlearned ones to compare with.


ruleorder: take_original > train_original


rule take_original:
    """Check an original that was trained elsewhere, and store it as one of ours."""
    input:
        unpack(job("take_original", "inputs")),
    output:
        **made("take_original"),
    log:
        log_of("take_original"),
    wildcard_constraints:
        experiment=given_originals(),
        trunk="originals",
    priority: early(50)  # everything waits for it
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        settings=settings("take_original"),
        code=job("take_original", "code_sha256"),
    message:
        "take the original of {wildcards.experiment}, seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning take --weights {input.weights:q} --data {input.data}"
        " --settings {params.settings:q}"
        " --model {output.model} --record {output.record} > {log} 2>&1"


use rule take_original as take_unlearned with:
    input:
        unpack(job("take_unlearned", "inputs")),
    output:
        **made("take_unlearned"),
    log:
        log_of("take_unlearned"),
    wildcard_constraints:
        experiment=".+",
    priority: early(10)
    params:
        settings=settings("take_unlearned"),
        code=job("take_unlearned", "code_sha256"),
    message:
        "take {wildcards.method} of {wildcards.experiment} on {wildcards.split},"
        " train seed {wildcards.train_seed}"
