# Understanding: the studies of a run, what is found in their models, and how it is shown.


localrules:
    gather,


rule understanding:
    """What DUCK does inside: every study of the run with its tables and figures."""
    input:
        asked_studies,


rule poison:
    """A data set whose training part teaches a shortcut."""
    input:
        unpack(job("poison", "inputs")),
    output:
        **made("poison"),
    log:
        log_of("poison"),
    priority: early(50)
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(10),
        mem_mb=lambda w, attempt: attempt * 8000,
    params:
        settings=settings("poison"),
        code=code("poison"),
    message:
        "poison the training images of {wildcards.experiment}"
    shell:
        "python -m unlearning poison --data {input.data} --settings {params.settings:q}"
        " --out {output.data} > {log} 2>&1"


rule examine:
    """Densities, silhouettes, margins and destinations, from stored models."""
    input:
        unpack(job("examine", "inputs")),
    output:
        made("examine")["out"],
    log:
        log_of("examine"),
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        verb="examine",
        options=job("examine", "options"),
        code=job("examine", "code_sha256"),
    message:
        "examine the feature space of {wildcards.experiment} without {wildcards.split},"
        " train seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning {params.verb} --data {input.data} --split {input.split}"
        " {params.options} --threads {threads} --out {output} > {log} 2>&1"


use rule examine as map with:
    input:
        unpack(job("map", "inputs")),
    output:
        made("map")["out"],
    log:
        log_of("map"),
    params:
        verb="map",
        options=job("map", "options"),
        code=job("map", "code_sha256"),
    message:
        "map the embeddings of {wildcards.experiment} without {wildcards.split},"
        " train seed {wildcards.train_seed}"


use rule examine as explain with:
    input:
        unpack(job("explain", "inputs")),
    output:
        made("explain")["out"],
    log:
        log_of("explain"),
    params:
        verb="explain",
        options=job("explain", "options"),
        code=job("explain", "code_sha256"),
    message:
        "explain images of {wildcards.split} of {wildcards.experiment},"
        " train seed {wildcards.train_seed}"


use rule examine as shortcut with:
    input:
        unpack(job("shortcut", "inputs")),
    output:
        made("shortcut")["out"],
    log:
        log_of("shortcut"),
    params:
        verb="shortcut",
        options=job("shortcut", "options"),
        code=job("shortcut", "code_sha256"),
    message:
        "measure the shortcut of {wildcards.experiment}, train seed {wildcards.train_seed}"


rule gather:
    """What the studies found, as tidy CSV files."""
    input:
        lambda w: files_of(JOBS.gathered()),
        config=results("config.json"),
    output:
        [results(f"{name}.csv") for name in ("studies", "study_manifest", *FINDINGS)],
    log:
        results("logs/gather.log"),
    conda:
        "../../environment.yml"
    params:
        root=lambda w, output: os.path.dirname(output[0]),
        code=code("gather"),
    message:
        "gather what the studies found"
    shell:
        "python -m unlearning gather --config {input.config} --root {params.root}"
        " --out {params.root} > {log} 2>&1"


rule tabulate_studies:
    """The studies' tables, from their CSV files."""
    input:
        **{
            name: measured(f"{name}.csv")
            for name in ("studies", "features", "attributions", "shortcut")
        },
    output:
        STUDY_PAGES,
    log:
        results("logs/tabulate_studies.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("tabulate_studies"),
    params:
        folder=lambda w, output: os.path.dirname(output[0]),
        code=code("tabulate_studies"),
    message:
        "tabulate the studies"
    shell:
        "python -m unlearning tabulate_studies --studies {input.studies}"
        " --features {input.features} --attributions {input.attributions}"
        " --shortcut {input.shortcut} --out {params.folder} > {log} 2>&1"
