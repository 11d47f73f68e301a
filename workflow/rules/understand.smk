# Understanding: the studies of a run, what is found in their models, and how it is shown.
# What the rules ask of the config is in studies.smk.


localrules:
    gather,


rule understanding:
    """What DUCK does inside: every study of the run with its tables and figures."""
    input:
        asked_studies,


rule poison:
    """A data set whose training part teaches a shortcut."""
    input:
        lambda w: f"data/{experiment_of(w).dataset}.safetensors",
    output:
        data=results("{experiment}/poisoned.safetensors"),
        facts=results("{experiment}/poisoned.json"),
    log:
        results("logs/poison/{experiment}.log"),
    priority: early(50)
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda w, attempt: attempt * 8000,
    params:
        settings=lambda w: canonical_json(grid.splits(experiment_of(w))[0].settings),
        code=code("poison"),
    message:
        "poison the training images of {wildcards.experiment}"
    shell:
        "python -m unlearning poison --data {input} --settings {params.settings:q}"
        " --out {output.data} > {log} 2>&1"


rule examine:
    """Densities, silhouettes, margins and destinations, from stored models."""
    input:
        cells_to_examine,
        data=data_of,
        split=forget_set,
    output:
        group("examine"),
    log:
        results("logs/examine/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    conda:
        "../../environment.yml"
    threads: resource_of("threads")
    resources:
        runtime=grows("runtime"),
        mem_mb=grows("mem_mb"),
        gpu=resource_of("gpu"),
    params:
        verb="examine",
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=examined,
        options=option("--settings", "features"),
        code=lambda w: code("examine", experiment_of(w).arch),
    message:
        "examine the feature space of {wildcards.experiment} without {wildcards.split},"
        " train seed {wildcards.train_seed}"
    shell:
        "UNLEARNING_GPU={resources.gpu}"
        " python -m unlearning {params.verb} --data {input.data} --split {input.split}"
        " --folder {params.folder} --cells {params.cells:q} {params.options}"
        " --threads {threads} --out {output} > {log} 2>&1"


use rule examine as map with:
    output:
        group("map"),
    log:
        results("logs/map/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    params:
        verb="map",
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=examined,
        options=option("--images", "features", "images"),
        code=lambda w: code("map", experiment_of(w).arch),
    message:
        "map the embeddings of {wildcards.experiment} without {wildcards.split},"
        " train seed {wildcards.train_seed}"


use rule examine as explain with:
    output:
        group("explain"),
    log:
        results("logs/explain/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    params:
        verb="explain",
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=examined,
        options=option("--settings", "attributions"),
        code=lambda w: code("explain", experiment_of(w).arch),
    message:
        "explain images of {wildcards.split} of {wildcards.experiment},"
        " train seed {wildcards.train_seed}"


use rule examine as shortcut with:
    output:
        group("shortcut"),
    log:
        results("logs/shortcut/{experiment}/{scenario}/{split}/train-{train_seed}.log"),
    params:
        verb="shortcut",
        folder=results("{experiment}/runs/{scenario}/{split}/train-{train_seed}"),
        cells=examined,
        options=option("--attributions", "attributions"),
        code=lambda w: code("shortcut", experiment_of(w).arch),
    message:
        "measure the shortcut of {wildcards.experiment}, train seed {wildcards.train_seed}"


rule gather:
    """What the studies found, as tidy CSV files."""
    input:
        lambda w: found_in_studies(),
        config=results("config.json"),
    output:
        STUDY_FILES,
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
