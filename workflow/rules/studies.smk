# What the rules of the studies ask of the config: cells, options and files of a job.


def examined(w):
    """The cell of each method of a group, as JSON: with the first unlearning seed."""
    seed = experiment_of(w).unlearn_seeds[0]
    cells = [c for c in group_of(w) if c.unlearn_seed == seed]
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


def looked_into(c):
    """The stages that look into the models of a cell's group; none before its references ran."""
    study = experiment_of(c)
    if not set(REFERENCES) <= {member.method for member in group_of(c)}:
        return []
    if study.study == "shortcut":
        return ["shortcut"]
    if study.study != "feature_space" or c.scenario != "class_removal":
        return []
    first = (
        c.split == grid.splits(study)[0].key and c.train_seed == study.train_seeds[0]
    )
    return [
        "examine",
        *(["explain"] if study.attributions else []),
        *(["map"] if first else []),
    ]


def found_in_studies():
    """Records and scores of every cell of a study, and what is found of its group's models."""
    runnable = [c for c in STUDY_CELLS if runs_here(c)]
    scored = [c for c in runnable if experiment_of(c).study != "shortcut"]
    records = [cell("record.json").format(**vars(c)) for c in runnable]
    groups = {(c.experiment, c.group): c for c in runnable}.values()
    groups = {c.measured(stage) for c in groups for stage in looked_into(c)}
    return [*records, *finished(scored), *(results(file) for file in sorted(groups))]


STUDY_FILES = expand(
    results("{name}.csv"), name=["studies", "study_manifest", *FINDINGS]
)
STUDY_PAGES = expand(
    results("tables/{table}.{form}"),
    table=STUDY_TABLES,
    form=["csv", "md", "tex", "html"],
)
DRAWN = expand(
    results("figures/{figure}.{form}"),
    figure=STUDY_FIGURES,
    form=["svg", "pdf", "png", "csv"],
)
STUDY_FOUND = expand(measured("{name}.csv"), name=["studies", *FINDINGS])
UNDERSTANDING = STUDY_FOUND + STUDY_PAGES + DRAWN if STUDY_CELLS else []


def asked_studies(_):
    """Everything of the studies; a run without any says so."""
    if not UNDERSTANDING:
        raise WorkflowError(f"run {CONFIG.run} has no experiment with a study")
    return UNDERSTANDING
