# Data: packed data sets and pretrained weights, and the forget sets as index files.


rule fetch_dataset:
    """Find or download a data set, verify it and pack it into one file."""
    output:
        # update(): a failed fetch, e.g. a wrong checksum, leaves the earlier files in place
        data=update("data/{dataset}.safetensors"),
        facts=update("data/{dataset}.json"),
    log:
        "data/logs/{dataset}.log",
    conda:
        "../../environment.yml"
    resources:
        runtime=lambda w, attempt: attempt * 120,
        mem_mb=lambda w, attempt: attempt * 8000,  # TinyImageNet's pixels and their copies
    params:
        info=lambda w: DATASETS[w.dataset].as_json(),
        code=code("fetch"),
    message:
        "fetch {wildcards.dataset}: find or download, verify, pack"
    shell:
        "python -m unlearning fetch --info {params.info:q} --out data > {log} 2>&1"


rule fetch_weights:
    """Find or download pretrained weights, verify them and pack them into one file."""
    output:
        data=update("data/weights/{weights}.safetensors"),
        facts=update("data/weights/{weights}.json"),
    log:
        "data/logs/weights/{weights}.log",
    conda:
        "../../environment.yml"
    resources:
        runtime=lambda w, attempt: attempt * 60,
        mem_mb=lambda w, attempt: attempt * 4000,  # ViT-B/16, its file and its network
    params:
        info=lambda w: WEIGHTS[w.weights].as_json(),
        code=code("fetch_weights"),
    message:
        "fetch {wildcards.weights}: find or download, verify, pack"
    shell:
        "python -m unlearning fetch_weights --info {params.info:q} --out data > {log} 2>&1"


rule make_split:
    """Draw one forget set and write its indices with their hash."""
    input:
        unpack(job("make_split", "inputs")),
    output:
        made("make_split")["split"],
    log:
        log_of("make_split"),
    priority: early(55)  # a wrong list stops the run before any training
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(2),
        mem_mb=memory("make_split"),
    params:
        settings=settings("make_split"),
        code=code("split"),
    message:
        "split {wildcards.scenario} {wildcards.split} of {wildcards.experiment}"
    shell:
        "python -m unlearning split --data {input.data} --settings {params.settings:q}"
        " --out {output} > {log} 2>&1"
