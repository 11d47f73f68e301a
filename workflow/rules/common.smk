# What the rules share: the checked config, its jobs (unlearning.jobs.run), the names of files.
import glob
import math

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from unlearning.config.yaml_files import read_yaml
from unlearning.data.catalogue import catalogue, weights_catalogue
from unlearning.files import canonical_json
from unlearning.jobs import costs
from unlearning.jobs.job import LOGS, OUTPUTS, files_of
from unlearning.jobs.run import Jobs
from unlearning.metrics.names import STUDY_TABLES
from unlearning.plan import checks
from unlearning.records.entry import stage_modules
from unlearning.records.provenance import code_hash, script_hash
from unlearning.results.shown import DRAWN, FIGURES, PRINTED, READ
from unlearning.results.shown import SOURCES, STUDY_FIGURES, TABLES

METHOD_FILES = "configs/methods"
# How errors name the config.
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
        return checks.plan(raw, CONFIG_FILE, DATASETS, METHOD_FILES)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def code(verb):
    """The content hash of the library code that a verb runs: an edit of it reruns the job."""
    return code_hash(stage_modules(verb))


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
    """MB of the logits that a job reads."""
    return JOBS.logits_mb(dict(w.items()))


def memory(rule, of=lambda w: 0):
    """The MB of a rule. of: the MB of logits that a job reads, which count four times."""
    base = costs.memory_mb(MEASURED, rule)
    return lambda w, attempt: attempt * math.ceil(base + 4 * of(w))


def minutes(w, attempt):
    """The minutes of a job that reads logits: ten, and one for each 50 MB."""
    return attempt * math.ceil(10 + logits_mb(w) / 50)


DATASETS, WEIGHTS, MEASURED = catalogue(), weights_catalogue(), costs.read()
# The folder of a finished run, to draw and tabulate it again without training anything.
FINISHED = config.get("runs", "").rstrip("/")
CONFIG, TUNING = checked()
