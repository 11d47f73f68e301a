# Unlearning: one method on one forget set from one original.


rule unlearn:
    """Run one method; keep its model, its logits on all images and its record."""
    input:
        unpack(job("unlearn", "inputs")),
    output:
        **unlearned(),
    log:
        log_of("unlearn"),
    priority: early(10)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        options=job("unlearn", "options"),
        settings=settings("unlearn"),
        code=job("unlearn", "code_sha256"),
    message:
        "unlearn {wildcards.split} of {wildcards.experiment} with {wildcards.method},"
        " train seed {wildcards.train_seed}, unlearn seed {wildcards.unlearn_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning unlearn --data {input.data} --split {input.split}"
        " --start {input.start} --start-record {input.start_record} {params.options}"
        " --settings {params.settings:q} --model {output.model}"
        " --outputs {output.outputs} --record {output.record} > {log} 2>&1"
