# The jobs of the run, what it takes of another one, and what happens before the first job.
import gc
import signal
import threading

from unlearning.data.catalogue import DataError
from unlearning.jobs import adoption, progress
from unlearning.plan import grid
from unlearning.records import provenance
from unlearning.results.findings import FINDINGS
from unlearning.runtime import forkserver, owner, surroundings

# The DAG is many objects that stay: looking through them for garbage was a seventh and more of planning.
gc.freeze()
gc.set_threshold(50_000, 20, 100)
surroundings.name_user()
# In the environment, not in a rule: where files come from never changes what they hold.
os.environ.update(
    UNLEARNING_CHECKOUT=workflow.basedir,
    UNLEARNING_SOURCES=canonical_json(CONFIG.sources),
    UNLEARNING_LISTS=canonical_json(grid.listed(CONFIG)),
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


def given_originals():
    """The experiments whose originals were trained elsewhere, as a pattern."""
    found = [label for label, e in JOBS.experiments.items() if e.original]
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
    check_jobs(jobs)
    provenance.remember()
    hold_folder()
    if GIVEN.source:
        GIVEN.write(results(""))
    if "unlearning" in workflow.output_settings.log_handler_settings:
        progress.expected |= progress.seconds(CONFIG, DATASETS, MEASURED, FIGURES)
    start_server(jobs)
    # Snakemake 9.27 takes this lock in its handler of SIGTERM as well: a plain lock that the main
    # thread holds at that moment, as it starts a job, would never be free again.
    workflow.scheduler._lock = threading.RLock()
    if workflow.local_exec:
        # Snakemake 9.27 starts a timer at each look at the queue, and each timer causes a look:
        # they pile up, and after 390 jobs took a third of a core. No queue is to be spared here.
        workflow.scheduler.job_rate_limiter = None


def check_jobs(jobs):
    """End Snakemake before the first job if one of them could not be run; warn of less."""
    try:
        if not FINISHED:
            checks.check_bounds(JOBS.experiments.values(), CONFIG_FILE, METHOD_FILES)
        check_weights(jobs)
        check_lists(jobs)
    except (ValueError, DataError) as error:
        raise WorkflowError(str(error)) from None
    check_cores(jobs)
    why = provenance.git_state().get("no_commit")
    if why and (PROJECT / ".git").exists():  # a clone; a source archive has no commit
        logger.warning(f"Records of this run name no commit: {why}")


def hold_folder():
    """Note who runs here, and end after a closed terminal as after SIGTERM."""
    if workflow.local_exec and workflow.is_main_process:
        owner.claim()
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))


def start_server(jobs):
    """Start the fork server if it is worth while; a run without it is only slower."""
    if len(jobs) >= forkserver.WORTH:
        forkserver.start(JOBS.modules({job.rule.name for job in jobs}))
        if forkserver.FOLDER not in os.environ:
            logger.warning("No fork server (TMPDIR is too long or closed): slower.")


def check_weights(jobs):
    """Raise DataError if a job of this run would fetch weights that cannot be had here."""
    asked = {j.wildcards.weights for j in jobs if j.rule.name == "fetch_weights"}
    if asked:
        from unlearning.data import weights  # brings torch: seconds

        for name in sorted(asked):
            named = CONFIG.sources.get(name)
            weights.check_obtainable(WEIGHTS[name], "data", named, CONFIG_FILE)


def check_lists(jobs):
    """Raise ListError if a forget list of this run does not fit its data, if these are packed."""
    paths = grid.listed(CONFIG)
    fetched = {j.wildcards.dataset for j in jobs if j.rule.name == "fetch_dataset"}
    wanted = {j.output[0] for j in jobs if j.rule.name == "make_split"}
    for (label, scenario, _), one in JOBS.splits.items():
        listed_here = (
            scenario == "sample_removal" and results(f"{label}/{one.path}") in wanted
        )
        dataset = JOBS.experiments[label].dataset
        if listed_here and dataset not in fetched:
            from unlearning.stages.split import listed  # brings torch: seconds

            sha256 = one.settings["sha256"]
            listed(f"data/{dataset}.safetensors", sha256, paths[sha256])


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
TABLED = printed(tables({c.scenario for c in JOBS.cells}))
STUDY_PAGES = printed(STUDY_TABLES)
STUDY_FOUND = [measured(f"{name}.csv") for name in ("studies", *FINDINGS)]
FOUND = [measured(f"{name}.csv") for name in ("runs", "manifest", "ensembles")]
FOUND += STUDY_FOUND if STUDIES else []
PICTURES = drawn([*FIGURES, *(STUDY_FIGURES if STUDIES else [])])
DOCUMENTED = TABLED + PICTURES + (STUDY_PAGES if STUDIES else [])
AUDIT = [results(f"audit.{form}") for form in READ]
AUDIT += [results("orders.csv"), results("claims.csv"), results("claims.md")]
# The paper is about DUCK on a whole grid: another run has it only when it is asked for.
ABOUT_DUCK = CONFIG.has_paper and any(
    c.method == "duck" and c.scenario in PAPER_SCENARIOS for c in JOBS.cells
)
FIRST = [results("first/class_removal.txt")] if not FINISHED and JOBS.first() else []
WRITTEN = [results("report.html"), *([results("paper.pdf")] if ABOUT_DUCK else [])]
# What audit, paper and page are made from, beside the files of the run.
AUDITED = ["paper/reported.csv", "paper/claims.yaml", "configs/paper.yaml"]
TYPESET = ["paper/*.typ", "paper/references.bib", "paper/deviations.csv"]
TYPESET += ["configs/methods/*.yaml"]  # the paper says whose settings


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


onsuccess:
    owner.release()


onerror:
    owner.release()
