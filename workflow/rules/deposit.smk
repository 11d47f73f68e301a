# Deposit: the run as a research object, for an archive or for a reader without this checkout.


rule crate:
    """The run as a Workflow Run RO-Crate: results, tables, figures, the workflow, its jobs."""
    input:
        FOUND + DOCUMENTED + AUDIT + WRITTEN,
        config=measured("config.json"),
    output:
        directory(results("crate")),
    log:
        results("logs/crate.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(10),
    params:
        source=lambda w, input: os.path.dirname(input.config),
        made=lambda w, output: os.path.dirname(output[0]),
        full="",
        code=code("crate"),
    message:
        "write {output}"
    shell:
        "python -m unlearning crate {params.source} --made {params.made} {params.full}"
        " --out {output} > {log} 2>&1"


use rule crate as full_crate with:
    output:
        directory(results("full_crate")),
    log:
        results("logs/full_crate.log"),
    params:
        source=lambda w, input: os.path.dirname(input.config),
        made=lambda w, output: os.path.dirname(output[0]),
        full="--full",
        code=code("crate"),
    message:
        "write {output}, with records, logits and models"
