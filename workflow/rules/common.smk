# What the rules share: the checked config, its jobs (unlearning.jobs.run), the names of files.
import math

from snakemake.utils import update_config

from unlearning.config.yaml_files import read_yaml
from unlearning.data.catalogue import catalogue, weights_catalogue
from unlearning.files import METHODS, PROJECT, canonical_json
from unlearning.jobs import costs
from unlearning.jobs.job import LOGS, OUTPUTS, files_of
from unlearning.jobs.run import Jobs
from unlearning.metrics.aus import PAPER_SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.plan import checks
from unlearning.records.entry import stage_modules
from unlearning.records.provenance import code_hash, script_hash
from unlearning.results.shown import DRAWN, FIGURES, PRINTED, READ
from unlearning.results.shown import SOURCES, STUDY_FIGURES, tables

# Errors name files as they are seen from the working folder.
METHOD_FILES = os.path.relpath(METHODS)
CONFIG_FILE = str(workflow.configfiles[0]) if workflow.configfiles else "--config"


def checked():
    """The typed config and its searches; a problem ends Snakemake and touches nothing."""
    try:
        # Not Snakemake's own reading: it takes 010 for 8, and the last of two equal keys.
        raw = {}
        for file in workflow.configfiles:
            update_config(raw, read_yaml(file))
        update_config(raw, workflow.config_settings.config)
        aside = ("runs", "gpu")  # what --config may say beside a config's own keys
        raw = {key: value for key, value in raw.items() if key not in aside}
        found = checks.plan(raw, CONFIG_FILE, DATASETS, METHOD_FILES)
        if not FINISHED:
            checks.check_files(found[0].experiments, CONFIG_FILE)
        return found
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def code(verb):
    """The content hash of the library code that a verb runs: an edit of it reruns the job."""
    return code_hash(stage_modules(verb))


def shipped(*patterns):
    """The files of the checkout that patterns name, each pattern's sorted."""
    return [file for pattern in patterns for file in sorted(PROJECT.glob(pattern))]


def results(path):
    """A path below the run's folder; may hold wildcards."""
    return f"results/{'redrawn/' if FINISHED else ''}{CONFIG.run}/{path}"


def measured(file):
    """A file with what a run measured: its own, or of the finished run that is drawn again."""
    return f"{FINISHED}/{file}" if FINISHED else results(file)


def drawn(figures):
    """The files of figures."""
    return expand(results("figures/{name}.{form}"), name=figures, form=DRAWN)


def printed(tables):
    """The files of tables."""
    return expand(results("tables/{name}.{form}"), name=tables, form=PRINTED)


def made(rule):
    """The files of a rule, by role."""
    return {role: results(path) for role, path in OUTPUTS[rule].items()}


def unlearned():
    """The files of a cell; its weights go once nothing needs them, if the config says so."""
    files = made("unlearn")
    passing = {"model": temp(files["model"])} if CONFIG.keep == "scores" else {}
    return files | passing


def log_of(rule):
    """The log of a rule."""
    return results(f"logs/{LOGS[rule]}.log")


def job(rule, what):
    """What the library says of a job (unlearning.jobs.job.Job)."""
    return lambda w: getattr(JOBS.job(rule, w), what)


def settings(rule):
    """The settings of a job, as JSON."""
    return lambda w: canonical_json(JOBS.job(rule, w).settings)


def early(base):
    """The priority of a job: `base`, and more the earlier the part that wants it first."""
    return lambda w, input, attempt: JOBS.priority(base, dict(w.items()))


def resource_of(name):
    """A resource of the experiment that a job belongs to."""
    return lambda w: getattr(JOBS.experiments[w.experiment].resources, name)


def grows(name):
    """The same for what a second attempt asks twice of."""
    return lambda w, attempt: attempt * resource_of(name)(w)


def logits_mb(w):
    """MB of the logits that a job reads, shadow models' included."""
    return JOBS.logits_mb(dict(w.items()))


def cells_mb(w):
    """MB of the logits of the cells that a job reads."""
    return JOBS.logits_mb(dict(w.items()), shadows=False)


def memory(rule, of=lambda w: 0):
    """The MB of a rule. of: the MB of logits that a job reads, which count four times."""
    base = costs.memory_mb(MEASURED, rule)
    return lambda w, attempt: attempt * math.ceil(base + 4 * of(w))


def minutes(base, of=lambda w: 0, mb=1):
    """The minutes of a rule: `base`, and one for each `mb` MB `of` logits that a job reads.

    Jobs of a group that run one after another add up, so that a job of seconds states few.
    """
    return lambda w, attempt: attempt * math.ceil(base + of(w) / mb)


DATASETS, WEIGHTS, MEASURED = catalogue(), weights_catalogue(), costs.read()
# The folder of a finished run, to draw and tabulate it again without training anything.
FINISHED = config.get("runs", "").rstrip("/")
CONFIG, TUNING = checked()
DATASETS |= CONFIG.own_datasets
