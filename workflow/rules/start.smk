# The jobs of the run, what it takes of another one, and what happens before the first job.
import gc
import threading

from unlearning.data.catalogue import DataError
from unlearning.jobs import adoption, progress
from unlearning.records import provenance
from unlearning.results.findings import FINDINGS
from unlearning.runtime import forkserver

# The DAG is many objects that stay: looking through them for garbage was a seventh and more of planning.
gc.freeze()
gc.set_threshold(50_000, 20, 100)
# In the environment, not in a rule: where files come from never changes what they hold.
os.environ.update(
    UNLEARNING_SOURCES=canonical_json(CONFIG.sources),
    UNLEARNING_WITHOUT_BFLOAT16=CONFIG.without_bfloat16,
)
# glibc gives freed tensors back to the system and fetches them again at every step; kept,
# a training of the small network took 0.83 times as long (2 pairs of runs, the same bits).
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))


def given_models():
    """What this run takes; a job on another machine reads what the run decided as it began."""
    if not WANTED_MODELS:
        return adoption.Given("", {}, {})
    if workflow.remote_exec:
        return adoption.Given.read(CONFIG.models, results(""))
    try:
        found = adoption.given(CONFIG, WANTED_MODELS, results(""), CONFIG_FILE)
    except ValueError as error:
        raise WorkflowError(str(error)) from None
    logger.info(found.line())
    return found


def is_finished(folder):
    """Whether a cell was run; asked in a partial run."""
    return folder in GIVEN.taken or os.path.exists(results(f"{folder}/record.json"))


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


def begin():
    """What happens before the first job, if there is one."""
    jobs = list(workflow.dag.needrun_jobs())
    try:
        if not FINISHED:
            checks.check_bounds(JOBS.experiments.values(), CONFIG_FILE, METHOD_FILES)
        check_weights(jobs)
    except (ValueError, DataError) as error:
        raise WorkflowError(str(error)) from None
    provenance.remember()
    if GIVEN.source:
        GIVEN.write(results(""))
    if "unlearning" in workflow.output_settings.log_handler_settings:
        progress.expected |= progress.seconds(CONFIG, DATASETS, MEASURED, FIGURES)
    if len(jobs) >= forkserver.WORTH:
        forkserver.start(JOBS.modules({job.rule.name for job in jobs}))
    # Snakemake 9.27 takes this lock in its handler of SIGTERM as well: a plain lock that the main
    # thread holds at that moment, as it starts a job, would never be free again.
    workflow.scheduler._lock = threading.RLock()
    if workflow.local_exec:
        # Snakemake 9.27 starts a timer at each look at the queue, and each timer causes a look:
        # they pile up, and after 390 jobs took a third of a core. No queue is to be spared here.
        workflow.scheduler.job_rate_limiter = None


def check_weights(jobs):
    """Raise DataError if a job of this run would fetch weights that cannot be had here."""
    asked = {j.wildcards.weights for j in jobs if j.rule.name == "fetch_weights"}
    if asked:
        from unlearning.data import weights  # brings torch: seconds

        for name in sorted(asked):
            named = CONFIG.sources.get(name)
            weights.check_obtainable(WEIGHTS[name], "data", named, CONFIG_FILE)


def asked_studies(_):
    """Everything of the studies; a run without any says so."""
    if not STUDIES:
        raise WorkflowError(f"run {CONFIG.run} has no experiment with a study")
    return STUDY_FOUND + STUDY_PAGES + drawn(STUDY_FIGURES)


JOBS = Jobs(
    CONFIG, DATASETS, TUNING, results("").rstrip("/"), METHOD_FILES, is_finished
)
WANTED_MODELS = adoption.wanted(JOBS) if CONFIG.models and not FINISHED else {}
GIVEN = given_models()
STUDIES = bool(JOBS.study_cells)
TABLED = printed(TABLES)
STUDY_PAGES = printed(STUDY_TABLES)
STUDY_FOUND = [measured(f"{name}.csv") for name in ("studies", *FINDINGS)]
FOUND = [measured(f"{name}.csv") for name in ("runs", "manifest", "ensembles")]
FOUND += STUDY_FOUND if STUDIES else []
PICTURES = drawn([*FIGURES, *(STUDY_FIGURES if STUDIES else [])])
DOCUMENTED = TABLED + PICTURES + (STUDY_PAGES if STUDIES else [])
AUDIT = [results(f"audit.{form}") for form in READ]
AUDIT += [results("orders.csv"), results("claims.csv"), results("claims.md")]
# The paper is about DUCK on a whole grid: another run has it only when it is asked for.
ABOUT_DUCK = not CONFIG.partial and "duck" in {c.method for c in JOBS.cells}
FIRST = [results("first/class_removal.txt")] if not FINISHED and JOBS.first() else []
WRITTEN = [results("report.html"), *([results("paper.pdf")] if ABOUT_DUCK else [])]
# What audit, paper and page are made from, beside the files of the run.
AUDITED = ["paper/reported.csv", "paper/claims.yaml", "configs/paper.yaml"]
TYPESET = ["paper/paper.typ", "paper/references.bib", "paper/deviations.csv"]
TYPESET += sorted(glob.glob(f"{METHOD_FILES}/*.yaml"))  # the paper says whose settings


wildcard_constraints:
    experiment="|".join(map(re.escape, JOBS.experiments)),
    trunk="originals(_erm)?",
    scenario="|".join(checks.KINDS),
    train_seed=r"\d+",
    shadow=r"\d+",
    unlearn_seed=r"\d+",
    dataset=r"[^/]+",
    weights=r"[^/]+",
    split=r"[^/]+",
    method=r"[^/]+",
    part=r"(\.[^/]+)?",
    figure="|".join(SOURCES),
