# What this run takes of another one, as given (`models`): for the rules of adopt.smk.


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
