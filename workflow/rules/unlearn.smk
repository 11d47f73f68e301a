# Unlearning: one method on one forget set from one original.


rule unlearn:
    """Run one method; keep its model, its logits on all images and its record."""
    input:
        unpack(start_of),
        data=data_of,
        split=forget_set,
    output:
        model=cell("model.safetensors"),
        outputs=cell("outputs.safetensors"),
        record=cell("record.json"),
    log:
        results(
            "logs/unlearn/{experiment}/{scenario}/{split}/train-{train_seed}/{method}-{unlearn_seed}.log"
        ),
    priority: early(10)
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        evaluated=lambda w, input: (
            f"--evaluated {input.evaluated}" if "evaluated" in input.keys() else ""
        ),
        settings=unlearn_settings,
        code=unlearn_code,
    message:
        "unlearn {wildcards.split} of {wildcards.experiment} with {wildcards.method},"
        " train seed {wildcards.train_seed}, unlearn seed {wildcards.unlearn_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning unlearn --data {input.data} --split {input.split}"
        " --start {input.start} --start-record {input.start_record} {params.evaluated}"
        " --settings {params.settings:q} --model {output.model}"
        " --outputs {output.outputs} --record {output.record} > {log} 2>&1"
