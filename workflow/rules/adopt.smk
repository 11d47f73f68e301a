# Taking what another run has made, as given (`models`): nothing is trained or unlearned, and no
# edit of the code makes it again.


localrules:
    adopt_model,
    adopt_outputs,
    adopt_cell,


def given_models():
    """What this run takes; a job on another machine reads what the run decided as it began."""
    if not WANTED_MODELS:
        return adoption.Given("", {}, {})
    if workflow.remote_exec:
        return adoption.Given.read(CONFIG.models, results(""))
    try:
        found = adoption.given(CONFIG, WANTED_MODELS, results(""), config_file())
    except ValueError as error:
        raise WorkflowError(str(error)) from None
    logger.info(found.line())
    return found


def taken(*verbs):
    """The folders of all that is taken of what some verbs make, as a pattern."""
    found = [f for f in GIVEN.taken if WANTED_MODELS[f].verb in verbs]
    return "|".join(map(re.escape, found)) or "(?!)"


def same_inputs(w):
    """What a model is compared with before it is taken, and what it was made from."""
    one = WANTED_MODELS[w.taken]
    records = [results(f"{folder}/record.json") for folder in one.made_from.values()]
    split = {"split": results(one.split_file)} if one.split else {}
    found = {"data": str(one.data_file(results(""))), **split, "made_from": records}
    return {name: ancient(files) for name, files in found.items()}


ASKED = EXPERIMENTS.values() if CONFIG.models and not FINISHED else ()
WANTED_MODELS = adoption.wanted(ASKED, METHOD_FILES)
GIVEN = given_models()


ruleorder: adopt_model > train_original
ruleorder: adopt_model > train_oracle
ruleorder: adopt_outputs > evaluate
ruleorder: adopt_outputs > train_shadow
ruleorder: adopt_cell > unlearn


rule adopt_model:
    """Take an original or an oracle of another run."""
    input:
        unpack(same_inputs),
    output:
        model=results("{taken}/model.safetensors"),
        record=results("{taken}/record.json"),
    log:
        results("logs/adopt/{taken}.log"),
    wildcard_constraints:
        taken=taken("train"),
    priority: 10**6
    conda:
        "../../environment.yml"
    params:
        root=results("").rstrip("/"),
        record_sha256=lambda w: GIVEN.taken[w.taken],
        verb=lambda w: WANTED_MODELS[w.taken].verb,
        split=lambda w, input: (
            f"--split {input.split}" if "split" in input.keys() else ""
        ),
    message:
        "take {wildcards.taken} as given"
    shell:
        "python -m unlearning adopt --source {GIVEN.source:q} --root {params.root}"
        " --folder {wildcards.taken} --record-sha256 {params.record_sha256}"
        " --verb {params.verb} --data {input.data} {params.split} > {log} 2>&1"


use rule adopt_model as adopt_outputs with:
    output:
        outputs=results("{taken}/outputs.safetensors"),
        record=results("{taken}/record.json"),
    wildcard_constraints:
        taken=taken("evaluate", "shadow"),


use rule adopt_model as adopt_cell with:
    output:
        model=results("{taken}/model.safetensors"),
        outputs=results("{taken}/outputs.safetensors"),
        record=results("{taken}/record.json"),
    wildcard_constraints:
        taken=taken("unlearn"),
