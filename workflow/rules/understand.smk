# Understanding: the studies of a run, what is found in their models, and how it is shown.


localrules:
    gather,


def examined(w):
    """The cell of each method of a group, as JSON: with the first unlearning seed."""
    seed = experiment_of(w).unlearn_seeds[0]
    cells = [c for c in group_of(w) if c.unlearn_seed in (0, seed)]
    return canonical_json({c.method: c.name for c in cells})


def cells_to_examine(w):
    """The records and models of a group."""
    names = ("record.json", "model.safetensors")
    return [cell(name).format(**vars(c)) for c in group_of(w) for name in names]


def option(name, block, key=None):
    """A block of the experiment's settings as an option of a verb, or nothing without it."""

    def text(w):
        settings = getattr(experiment_of(w), block)
        if settings is None:
            return ""
        found = getattr(settings, key) if key else canonical_json(settings.model_dump())
        return f"{name} {shlex.quote(str(found))}"

    return text


def findings():
    """What is to be found of the groups of each study."""
    found = set()
    for c in filter(runs_here, STUDY_CELLS):
        study = experiment_of(c)
        if study.study == "shortcut":
            found.add(c.measured("shortcut"))
        elif study.study == "feature_space" and c.scenario == "class_removal":
            found.add(c.measured("examine"))
            if study.attributions:
                found.add(c.measured("explain"))
            if c.train_seed == study.train_seeds[0] and c.split == first_split(study):
                found.add(c.measured("map"))
    return [results(file) for file in sorted(found)]


def first_split(study):
    """The forget set that a map shows."""
    return grid.splits(study)[0].key


def scored_cells():
    """The records and scores of every cell that has an AUS."""
    return finished(
        [c for c in STUDY_CELLS if experiment_of(c).study != "shortcut"]
    ) + [
        cell("record.json").format(**vars(c))
        for c in STUDY_CELLS
        if experiment_of(c).study == "shortcut"
    ]


STUDY_FILES = expand(results("{name}.csv"), name=["studies", *FINDINGS])
STUDY_TABLES = expand(
    results("tables/{table}.{form}"),
    table=STUDY_TABLES,
    form=["csv", "md", "tex", "html"],
)
UNDERSTANDING = (
    [
        *STUDY_FILES,
        *STUDY_TABLES,
        *expand(
            results("figures/{figure}.{form}"),
            figure=STUDY_FIGURES,
            form=["svg", "pdf", "png", "csv"],
        ),
    ]
    if STUDY_CELLS
    else []
)


def asked_studies(_):
    """Everything of the studies; a run without any says so."""
    if not UNDERSTANDING:
        raise WorkflowError(f"run {CONFIG.run} has no experiment with a study")
    return UNDERSTANDING


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
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
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
        runtime=resource_of("runtime"),
        mem_mb=resource_of("mem_mb"),
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
        "python -m unlearning {params.verb} --data {input.data} --split {input.split}"
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
        lambda w: scored_cells() + findings(),
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
            name: results(f"{name}.csv")
            for name in ("studies", "features", "attributions", "shortcut")
        },
    output:
        STUDY_TABLES,
    log:
        results("logs/tabulate_studies.log"),
    conda:
        "../../environment.yml"
    params:
        folder=lambda w, output: os.path.dirname(output[0]),
        code=code("tabulate_studies"),
    message:
        "tabulate the studies"
    shell:
        "python -m unlearning tabulate_studies --studies {input.studies}"
        " --features {input.features} --attributions {input.attributions}"
        " --shortcut {input.shortcut} --out {params.folder} > {log} 2>&1"
