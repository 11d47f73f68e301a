# The checked config and what the rules ask of it: paths, settings and code hashes of a job.
import functools

from snakemake.exceptions import WorkflowError

from unlearning import config as unlearning_config
from unlearning import grid, hyperparameters
from unlearning.data.catalogue import catalogue
from unlearning.files import canonical_json
from unlearning.metrics.aus import SCENARIOS
from unlearning.models import FAMILIES
from unlearning.entry import stage_modules
from unlearning.provenance import code_hash, script_hash

METHOD_FILES = "configs/methods"
FIGURE_NAMES = ["aus_vs_time", "accuracies"]


def checked_config():
    """The typed config; a problem ends Snakemake with its message and touches nothing."""
    file = str(workflow.configfiles[0]) if workflow.configfiles else "--config"
    try:
        methods = hyperparameters.known_methods(METHOD_FILES)
        names = {"dataset": DATASETS, "arch": FAMILIES, "scenario": SCENARIOS}
        hyperparameters.check_conditions(METHOD_FILES, names)
        found = unlearning_config.parse(config, file, DATASETS, methods)
        for experiment in found.experiments:
            for variant in experiment.variants:
                where = f"{file}: {experiment.label}: methods: {variant.name}: settings"
                for scenario in SCENARIOS:
                    resolved(experiment, variant, scenario, where)
    except ValueError as error:
        raise WorkflowError(str(error)) from None
    return found


def resolved(experiment, variant, scenario, where=""):
    """The hyper-parameters of a method in one experiment and scenario."""
    cell = {
        "dataset": experiment.dataset,
        "arch": experiment.arch,
        "scenario": scenario,
    }
    return hyperparameters.resolve(
        variant.method, cell, variant.settings, METHOD_FILES, where
    )


@functools.cache
def code(verb, arch=None, method=None):
    """The content hash of the library code that a job runs: an edit of it reruns the job."""
    return code_hash(stage_modules(verb, arch, method))


def figure_code(figure):
    """The content hash of a figure's script, of what it imports and of the common style."""
    return script_hash(
        f"figures/{figure}.py", "figures/common.py", "figures/style.mplstyle"
    )


def results(path):
    """A path below the run's folder; may hold wildcards."""
    return f"results/{CONFIG.run}/{path}"


def original(file):
    """A file of an original model."""
    return results(f"{{experiment}}/originals/train-{{train_seed}}/{file}")


def oracle(file):
    """A file of an oracle."""
    return results(
        f"{{experiment}}/oracles/{{scenario}}/{{split}}/train-{{train_seed}}/{file}"
    )


def cell(file):
    """A file of one method on one forget set; the folder is grid.Cell.folder."""
    return results(
        "{experiment}/runs/{scenario}/{split}/train-{train_seed}/"
        f"{{method}}/unlearn-{{unlearn_seed}}/{file}"
    )


def split_file():
    """The index file of a forget set."""
    return results("{experiment}/splits/{scenario}/{split}.json")


def start_of(w):
    """The weights that a method starts from: the original's, or for the oracle its own."""
    file = oracle if variant_of(w).method == "oracle" else original
    return {
        "start": file("model.safetensors").format(**w),
        "start_record": file("record.json").format(**w),
    }


def original_cell(w):
    """The logits of the original on the same split, which AUS compares with."""
    seed = experiment_of(w).unlearn_seeds[0]
    outputs = cell("outputs.safetensors")
    return outputs.format(**{**w, "method": "original", "unlearn_seed": seed})


def finished_cells(_):
    """Every cell's record and metrics; of a partial run, those that are there now."""
    names = ("record.json", "metrics.json")
    files = [cell(name).format(**vars(c)) for c in CELLS for name in names]
    return [f for f in files if os.path.exists(f)] if CONFIG.partial else files


def experiment_of(w):
    return EXPERIMENTS[w.experiment]


def split_of(w):
    return SPLITS[w.experiment, w.scenario, w.split]


def variant_of(w):
    return next(v for v in experiment_of(w).variants if v.name == w.method)


def data_of(w):
    """The packed data set of a job."""
    return f"data/{experiment_of(w).dataset}.safetensors"


def model_settings(w):
    """What identifies an original: the experiment's model and recipe, and the seed."""
    experiment = experiment_of(w)
    keys = ("dataset", "arch", "pretrained", "head_dropout", "evaluation")
    return {
        **{key: getattr(experiment, key) for key in keys},
        "experiment": w.experiment,
        "training": experiment.training.model_dump(),
        "threads": experiment.resources.threads,
        "train_seed": int(w.train_seed),
    }


def original_settings(w):
    return canonical_json(model_settings(w))


def oracle_settings(w):
    return canonical_json(
        model_settings(w) | {"scenario": w.scenario, "split": w.split}
    )


def unlearn_settings(w):
    """What identifies a cell: the model's facts, the split, the method and its settings."""
    experiment, variant = experiment_of(w), variant_of(w)
    model = {k: v for k, v in model_settings(w).items() if k != "training"}
    cell = {"scenario": w.scenario, "split": w.split, "method": w.method}
    return canonical_json(
        model
        | cell
        | {
            "base_method": variant.method,
            "hyperparameters": resolved(experiment, variant, w.scenario),
            "unlearn_seed": int(w.unlearn_seed),
        }
    )


def resource_of(name):
    """A resource of the experiment that a job belongs to."""
    return lambda w: getattr(experiment_of(w).resources, name)


DATASETS = catalogue()
CONFIG = checked_config()
# In the environment, not in a rule: where files come from never changes what they hold.
os.environ.update(UNLEARNING_SOURCES=canonical_json(CONFIG.sources))
EXPERIMENTS = {e.label: e for e in CONFIG.experiments}
SPLITS = {
    (e.label, s.scenario, s.key): s for e in CONFIG.experiments for s in grid.splits(e)
}
CELLS = grid.cells(CONFIG)
MODELS = sorted(
    {original("model.safetensors").format(**vars(cell)) for cell in CELLS}
    | {oracle("model.safetensors").format(**vars(cell)) for cell in CELLS}
)
TABLES = expand(
    results("tables/{scenario}.{form}"),
    scenario=SCENARIOS,
    form=["csv", "md", "tex", "html"],
)
FIGURES = expand(
    results("figures/{figure}.{form}"),
    figure=FIGURE_NAMES,
    form=["svg", "pdf", "png", "csv"],
)


wildcard_constraints:
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    scenario="|".join(SCENARIOS),
    train_seed=r"\d+",
    unlearn_seed=r"\d+",
    dataset=r"[^/]+",
    split=r"[^/]+",
    method=r"[^/]+",
    figure="|".join(FIGURE_NAMES),
