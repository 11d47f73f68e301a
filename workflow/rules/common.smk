# The checked config and what the rules ask of it: paths, settings and code hashes of a job.
import functools
import gc
import glob
import json
import math
import shlex
import threading

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from unlearning import (
    adoption,
    costs,
    forkserver,
    grid,
    hyperparameters,
    identity,
    plan,
    progress,
    provenance,
)
from unlearning.config import variance_for
from unlearning.data.catalogue import DataError, catalogue, weights_catalogue
from unlearning.files import canonical_json
from unlearning.methods import REFERENCES
from unlearning.metrics.names import STUDY_TABLES
from unlearning.metrics.aus import SCENARIOS
from unlearning.models import ERM, PRETRAINED
from unlearning.entry import stage_modules
from unlearning.provenance import code_hash, script_hash
from unlearning.stages.gather import FINDINGS
from unlearning.yaml_files import read_yaml

# The DAG is many objects that stay: looking through them for garbage was a seventh and more of planning.
gc.freeze()
gc.set_threshold(50_000, 20, 100)

METHOD_FILES = "configs/methods"
# Each figure and the CSV file that it is drawn from.
RESULT_FIGURES = {
    "aus_vs_time": "runs",
    "accuracies": "runs",
    "roc": "roc",
    "ranks": "runs",
}
TUNING_FIGURES = {"tuning": "tuning"}
STUDY_FIGURES = {
    "density": "features",
    "destinations": "destinations",
    "embedding_maps": "maps",
    "attributions": "attributions",
    "attribution_maps": "attribution_maps",
    "shortcut": "shortcut",
    "multiple_classes": "studies",
    "ablation": "studies",
    "architectures": "studies",
}


def config_file():
    """How errors name the config."""
    return str(workflow.configfiles[0]) if workflow.configfiles else "--config"


def begin():
    """What happens before the first job, if there is one."""
    try:
        if not FINISHED:
            plan.check_bounds(EXPERIMENTS.values(), config_file(), METHOD_FILES)
        check_weights()
    except (ValueError, DataError) as error:
        raise WorkflowError(str(error)) from None
    provenance.remember()
    if GIVEN.source:
        GIVEN.write(results(""))
    if "unlearning" in workflow.output_settings.log_handler_settings:
        progress.expected |= progress.seconds(
            CONFIG, DATASETS, MEASURED, RESULT_FIGURES
        )
    jobs = list(workflow.dag.needrun_jobs())
    if len(jobs) >= forkserver.WORTH:
        forkserver.start(loaded({job.rule.name for job in jobs}))
    # Snakemake 9.27 takes this lock in its handler of SIGTERM as well: a plain lock that the main
    # thread holds at that moment, as it starts a job, would never be free again.
    workflow.scheduler._lock = threading.RLock()
    if workflow.local_exec:
        # Snakemake 9.27 starts a timer at each look at the queue, and each timer causes a look:
        # they pile up, and after 390 jobs took a third of a core. No queue is to be spared here.
        workflow.scheduler.job_rate_limiter = None


def loaded(names):
    """What jobs of these rules need not import again when they are forked: theirs and ours."""
    modules = ["pandas"]
    modules += ["matplotlib.pyplot"] if "plot" in names else []
    modules += ["shap"] if {"explain", "shortcut"} & names else []
    for verb in ("train", "score", "attack", "probe", "draw"):
        modules += stage_modules(verb)
    for e in EXPERIMENTS.values():
        for v in e.variants:
            arch = e.arch + identity.ending_of(v.method)
            modules += stage_modules("unlearn", arch, v.method)
    return list(dict.fromkeys(modules))


def as_written():
    """The config files, then --config. Snakemake's own reading takes 010 for 8, and of a key that
    stands twice the last (unlearning.yaml_files)."""
    found = {}
    for file in workflow.configfiles:
        update_config(found, read_yaml(file))
    update_config(found, workflow.config_settings.config)
    return {key: value for key, value in found.items() if key not in ASIDE}


def check_weights():
    """Raise DataError if a job of this run would fetch weights that cannot be had here."""
    jobs = workflow.dag.needrun_jobs()
    asked = {j.wildcards.weights for j in jobs if j.rule.name == "fetch_weights"}
    if asked:
        from unlearning.data import weights  # brings torch: seconds

        for name in sorted(asked):
            named = CONFIG.sources.get(name)
            weights.check_obtainable(WEIGHTS[name], "data", named, config_file())


def checked():
    """The typed config and its searches; a problem ends Snakemake and touches nothing."""
    try:
        return plan.plan(as_written(), config_file(), DATASETS, METHOD_FILES)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


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
    return f"results/{'redrawn/' if FINISHED else ''}{CONFIG.run}/{path}"


def measured(file):
    """A file with what a run measured: its own, or of the finished run that is drawn again."""
    return f"{FINISHED}/{file}" if FINISHED else results(file)


def original(file):
    """A file of an original model; `trunk` ends in its architecture's ending."""
    return results(f"{{experiment}}/{{trunk}}/train-{{train_seed}}/{file}")


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


def shadow(file):
    """A file of a shadow model."""
    return results(f"{{experiment}}/shadows/{{shadow}}/{file}")


def group(stage, part=""):
    """The file of a stage that measures a group, or of one part; paths as in grid.Cell."""
    return results(
        f"{{experiment}}/{stage}/{{scenario}}/{{split}}/train-{{train_seed}}{part}.json"
    )


def split_file():
    """The index file of a forget set."""
    return results("{experiment}/splits/{scenario}/{split}.json")


def forget_set(w):
    """The index file of a job's forget set, which lies where its oracles do."""
    return split_file().format(**{**w, "experiment": home(w)})


def start_of(w):
    """What a method starts from: the original with its logits, or for the oracle its own model."""
    method = variant_of(w).method
    file = oracle if method == "oracle" else original
    named = {
        **w,
        "experiment": home(w),
        "trunk": f"originals{identity.ending_of(method)}",
    }
    surrogate = plan.resolved(experiment_of(w), variant_of(w), w.scenario).get(
        "surrogate", ""
    )
    packed = surrogate.removeprefix("packed:")
    known = ["outputs.safetensors", "record.json"] if method != "oracle" else []
    roles = zip(("evaluated", "evaluated_record"), known)
    return {
        **{role: file(f"evaluated/{name}").format(**named) for role, name in roles},
        **({"surrogate": f"data/{packed}.safetensors"} if packed != surrogate else {}),
        "start": file("model.safetensors").format(**named),
        "start_record": file("record.json").format(**named),
    }


@functools.cache
def runs_here(c):
    """Whether a cell is run: its method is defined there and, in a partial run, it was run."""
    method = variant_of(c).method
    if not hyperparameters.defined(method, c.scenario, METHOD_FILES):
        return False
    record = cell("record.json").format(**vars(c))
    return not CONFIG.partial or c.folder in GIVEN.taken or os.path.exists(record)


def group_of(w):
    """The cells that are measured together: one forget set and training seed."""
    members = GROUPS[w.experiment, w.scenario, w.split, int(w.train_seed)]
    return [c for c in members if runs_here(c)]


def group_outputs(w):
    """The records and logits of a group."""
    return outputs_of(group_of(w))


def outputs_of(cells):
    """The records and logits of some cells."""
    names = ("record.json", "outputs.safetensors")
    return [cell(name).format(**vars(c)) for c in cells for name in names]


def cells_to_probe(w):
    """The records, logits and models of a group."""
    models = [cell("model.safetensors").format(**vars(c)) for c in group_of(w)]
    return group_outputs(w) + models


def scored(w):
    """The cells of one file of scores: of a group and part."""
    file = f"{w.experiment}/scores/{w.scenario}/{w.split}/train-{w.train_seed}{w.part}.json"
    run = set(group_of(w))
    return [c for c in SCORED[file] if c in run]


def cells_to_score(w):
    """The records and logits of the cells to score, of their originals and of the oracle."""
    cells = scored(w)
    names = {*(c.name for c in cells), *originals_of(cells).values()}
    beside = [c for c in group_of(w) if c.name in names]
    return outputs_of(beside)


def originals_of(cells):
    """The cell of the original that each cell is compared with, by the cell's name."""
    pairs = {}
    for c in cells:
        own = hyperparameters.original_of(variant_of(c).method, METHOD_FILES)
        pairs[c.name] = f"{own}/unlearn-{experiment_of(c).unlearn_seeds[0]}"
    return pairs


def compared(cells):
    """Each of the cells of a job and the original that it is compared with, as JSON."""
    return lambda w: canonical_json(originals_of(cells(w)))


def names_of(w):
    """The cells of a group, as a JSON list."""
    return canonical_json([c.name for c in group_of(w)])


def oracle_among(cells):
    """The option that names the oracle's cell of a job; empty if it is not among its cells."""

    def option(w):
        names = [c.name for c in cells(w) if c.method == "oracle"]
        return f"--oracle {names[0]}" if names else ""

    return option


def early(base):
    """The priority of a job: `base`, and more the earlier the part that wants it first.

    Within a part the cells of class removal come first, for `first_table`.
    """

    def priority(w, input, attempt):
        if hasattr(w, "part"):
            rank = RANKS.get((w.experiment, w.part.removeprefix(".")), 0)
        elif not hasattr(
            w, "train_seed"
        ):  # of a shadow model, a forget set, a data set
            own = [r for (label, _), r in RANKS.items() if label == w.experiment]
            rank = min(own, default=0)  # a search has no place in the order
        elif hasattr(w, "trunk"):
            rank = WANTED.get((w.experiment, int(w.train_seed)), 0)
        else:
            group = f"{w.scenario}/{w.split}/train-{w.train_seed}"
            rank = WANTED.get((w.experiment, group, w.get("method", "oracle")), 0)
        first = base > 5 and w.get("scenario") == "class_removal"
        return base + 50 * first + 100 * (1 + max(RANKS.values()) - rank)

    return priority


def probe_code(w):
    """The content hash of the code that probes a group, which may hold masked models."""
    return code("probe", experiment_of(w).arch + ERM)


def pool_of(w):
    """The outputs of an experiment's shadow models."""
    return expand(
        shadow("outputs.safetensors"),
        experiment=w.experiment,
        shadow=range(experiment_of(w).attacks.shadows),
    )


def ensemble_of(w):
    """The cells of each method on one forget set, one a training seed."""
    first = experiment_of(w).unlearn_seeds[0]
    found = {}
    for seed in experiment_of(w).train_seeds:
        for c in GROUPS[w.experiment, w.scenario, w.split, seed]:
            if c.unlearn_seed == first and runs_here(c):
                found.setdefault(c.method, []).append(c)
    return found


def ensemble_inputs(w):
    """The records and logits of an ensemble."""
    names = ("record.json", "outputs.safetensors")
    members = [c for group in ensemble_of(w).values() for c in group]
    return [cell(name).format(**vars(c)) for c in members for name in names]


def ensemble_cells(w):
    """Each method's cells below the forget set's folder, as JSON."""
    folders = {
        method: [f"train-{c.train_seed}/{c.name}" for c in group]
        for method, group in ensemble_of(w).items()
    }
    return canonical_json(folders)


def variance_of(w):
    """The variance of LiRA's Gaussians in an experiment."""
    return experiment_of(w).attacks.variance


def ensemble_variance_of(w):
    """That of U-LiRA's, whose pool is a model of both kinds for each other training seed."""
    return variance_for(2 * (len(experiment_of(w).train_seeds) - 1))


def finished(cells):
    """Every cell's record and scores; of a partial run, those that were run."""
    runnable = [c for c in cells if runs_here(c)]
    records = [cell("record.json").format(**vars(c)) for c in runnable]
    wanted = set(runnable)
    scores = [f for f, members in SCORED.items() if wanted.intersection(members)]
    return records + sorted(map(results, scores))


def first_cells():
    """The cells of `first_table`: class removal of a run that is not asked for part by part."""
    if CONFIG.order is not None or CONFIG.partial:
        return []
    return [c for c in CELLS if c.scenario == "class_removal" and runs_here(c)]


def beyond_scores():
    """What else is measured of the run's cells: attacks, probes and ensembles."""
    runnable = [c for c in CELLS if runs_here(c)]
    found = {c.measured("attacks") for c in runnable if experiment_of(c).attacks}
    oracles = [c for c in runnable if c.method == "oracle"]
    found |= {c.measured("probes") for c in oracles}
    found |= {
        c.ensemble
        for c in oracles
        if len(experiment_of(c).train_seeds) >= grid.FEWEST_SEEDS
    }
    return [results(file) for file in sorted(found)]


def experiment_of(w):
    return EXPERIMENTS[w.experiment]


def split_of(w):
    return SPLITS[w.experiment, w.scenario, w.split]


def variant_of(w):
    return VARIANTS[w.experiment][w.method]


def data_of(w):
    """The packed data set of a job."""
    if experiment_of(w).poisoned:
        return results("{experiment}/poisoned.safetensors")
    return f"data/{experiment_of(w).dataset}.safetensors"


def trained_from(w):
    """What a training reads: the data and, where the experiment starts from them, weights."""
    pretrained = weights_of(experiment_of(w))
    return {"data": data_of(w), **({"pretrained": pretrained} if pretrained else {})}


def weights_of(experiment):
    """The packed weights that an experiment's trainings start from; None for random ones."""
    if experiment.pretrained:
        return f"data/weights/{PRETRAINED[experiment.arch]}.safetensors"
    return None


def from_weights(w, input):
    """The option of a training that names the weights; empty without any."""
    weights = input.get("pretrained")
    return f"--pretrained {weights}" if weights else ""


def home(w):
    """The experiment whose originals and oracles a cell starts from."""
    return experiment_of(w).models_of or w.experiment


def original_settings(w):
    ending = w.trunk.removeprefix("originals")
    found = identity.original(experiment_of(w), int(w.train_seed), ending)
    return canonical_json(found)


def oracle_settings(w):
    found = identity.oracle(experiment_of(w), int(w.train_seed), w.scenario, w.split)
    return canonical_json(found)


def shadow_settings(w):
    return canonical_json(identity.shadow(experiment_of(w), int(w.shadow)))


def cell_of(w):
    """The cell that a job makes."""
    seeds = int(w.train_seed), int(w.unlearn_seed)
    return grid.Cell(w.experiment, w.scenario, w.split, seeds[0], w.method, seeds[1])


def unlearn_settings(w):
    found = identity.unlearned(experiment_of(w), cell_of(w), METHOD_FILES)
    return canonical_json(found)


def unlearn_code(w):
    """The content hash of the code of one cell."""
    variant = variant_of(w)
    arch = experiment_of(w).arch + identity.ending_of(variant.method)
    return code("unlearn", arch, variant.method)


def resource_of(name):
    """A resource of the experiment that a job belongs to."""
    return lambda w: getattr(experiment_of(w).resources, name)


def grows(name):
    """The same for what a second attempt asks twice of."""
    return lambda w, attempt: attempt * getattr(experiment_of(w).resources, name)


def memory(rule, of=lambda w: 0):
    """The MB of a rule: half as much again as its measured peak on the embedded data, or 2000.

    of: the MB of logits that a job reads, which count four times.
    """
    peaks = [c.memory_mb for kind, c in MEASURED.items() if kind.split()[0] == rule]
    base = max((1.5 * mb for mb in peaks if not math.isnan(mb)), default=2000)
    return lambda w, attempt: attempt * math.ceil(base + 4 * of(w))


def minutes(w, attempt):
    """The minutes of a job that reads logits: ten, and one for each 50 MB."""
    return attempt * math.ceil(10 + logits_mb(w) / 50)


def logits_mb(w):
    """MB of the logits on all images of a group or of all groups of an ensemble, and of the pool."""
    experiment = experiment_of(w)
    seeds = [w.train_seed] if hasattr(w, "train_seed") else experiment.train_seeds
    cells = [
        c for s in seeds for c in GROUPS[w.experiment, w.scenario, w.split, int(s)]
    ]
    shadows = experiment.attacks.shadows if experiment.attacks else 0
    info = DATASETS[experiment.dataset]
    images = info.train + info.test
    return (len(cells) + shadows) * 4 * info.classes * images / 1e6


DATASETS = catalogue()
WEIGHTS = weights_catalogue()
MEASURED = costs.read()
# The folder of a finished run, to draw and tabulate it again without training anything.
FINISHED = config.get("runs", "").rstrip("/")
# What `--config` may say beside a config's own keys.
ASIDE = ("runs", "gpu")
CONFIG, TUNING = checked()
# In the environment, not in a rule: where files come from never changes what they hold.
os.environ.update(
    UNLEARNING_SOURCES=canonical_json(CONFIG.sources),
    UNLEARNING_WITHOUT_BFLOAT16=CONFIG.without_bfloat16,
)
# glibc gives freed tensors back to the system and fetches them again at every step; kept,
# a training of the small network took 0.83 times as long (2 pairs of runs, the same bits).
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
EXPERIMENTS = {e.label: e for e in (*CONFIG.experiments, *TUNING)}
VARIANTS = {e: {v.name: v for v in one.variants} for e, one in EXPERIMENTS.items()}
SPLITS = grid.shared_splits(EXPERIMENTS.values())
CELLS = grid.cells(CONFIG)
STUDY_CELLS = grid.study_cells(CONFIG)
# Not the oracles: no candidate is compared with one.
TUNING_CELLS = [c for e in TUNING for c in grid.cells_of(e) if c.method != "oracle"]
GROUPS = {}
for c in (*CELLS, *STUDY_CELLS, *TUNING_CELLS):
    GROUPS.setdefault((c.experiment, c.scenario, c.split, c.train_seed), []).append(c)
RANKS = grid.ranks(CONFIG)
WANTED = grid.first_wanted(CONFIG)
SCORED = {f: cells for e in EXPERIMENTS.values() for f, cells in grid.scored(e).items()}
MODELS = sorted(
    {
        original("model.safetensors").format(
            **vars(c), trunk=f"originals{identity.ending_of(variant_of(c).method)}"
        )
        for c in CELLS
    }
    | {
        oracle("model.safetensors").format(**vars(c))
        for c in CELLS
        if c.method == "oracle"
    }
)
FETCHED = sorted(
    {f"data/{e.dataset}.safetensors" for e in CONFIG.experiments}
    | {weights_of(e) for e in CONFIG.experiments if e.pretrained}
)
TABLE_NAMES = [
    *SCENARIOS,
    "membership",
    "oracle_distance",
    "statistics",
    "variance",
    "ensembles",
]
TABLES = expand(
    results("tables/{table}.{form}"),
    table=TABLE_NAMES,
    form=["csv", "md", "tex", "html"],
)
FIGURES = expand(
    results("figures/{figure}.{form}"),
    figure=RESULT_FIGURES,
    form=["svg", "pdf", "png", "csv"],
)
# What audit, paper and page are made from, beside the files of the run.
AUDITED = ["paper/reported.csv", "paper/claims.yaml", "configs/paper.yaml"]
TYPESET = ["paper/paper.typ", "paper/references.bib", "paper/deviations.csv"]
TYPESET += sorted(
    glob.glob(f"{METHOD_FILES}/*.yaml")
)  # it says where settings are from


wildcard_constraints:
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    trunk="originals(_erm)?",
    scenario="|".join(plan.KINDS),
    train_seed=r"\d+",
    shadow=r"\d+",
    unlearn_seed=r"\d+",
    dataset=r"[^/]+",
    weights=r"[^/]+",
    split=r"[^/]+",
    method=r"[^/]+",
    part=r"(\.[^/]+)?",
    figure="|".join(RESULT_FIGURES | STUDY_FIGURES | TUNING_FIGURES),


include: "given.smk"
include: "studies.smk"


FOUND = expand(measured("{name}.csv"), name=["runs", "manifest", "ensembles"])
FOUND += STUDY_FOUND if STUDY_CELLS else []
DOCUMENTED = TABLES + FIGURES + (STUDY_PAGES + DRAWN if STUDY_CELLS else [])
AUDIT = [results(f"audit.{form}") for form in ("csv", "md", "tex", "html")]
AUDIT += [results("orders.csv"), results("claims.csv"), results("claims.md")]
# The paper is about DUCK on a whole grid: another run has it only when it is asked for.
ABOUT_DUCK = not CONFIG.partial and "duck" in {c.method for c in CELLS}
FIRST = [results("first/class_removal.txt")] if not FINISHED and first_cells() else []
WRITTEN = [results("report.html"), *([results("paper.pdf")] if ABOUT_DUCK else [])]
