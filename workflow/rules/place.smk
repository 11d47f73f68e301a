# Where the workflow runs: its own library, one config, its own Python for the jobs, a sane number of
# cores, and no lock of a run that is dead. A mistake ends Snakemake in one line.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

CHECKOUT = Path(workflow.basedir).resolve()
JOBS_A_CORE = 4  # more would only wait for each other


def check_library():
    """The library beside this Snakefile is the one that Python finds, also in the jobs."""
    try:
        import unlearning
    except ModuleNotFoundError:
        raise WorkflowError(
            "Python finds no library `unlearning`: activate the environment first "
            f"(source {CHECKOUT}/.venv/bin/activate; `make reproduce` makes it)"
        ) from None
    found = Path(unlearning.__file__).resolve().parents[2]
    if found != CHECKOUT:
        raise WorkflowError(
            f"Python finds the library of {found}, not that of {CHECKOUT}: "
            f"unset PYTHONPATH, or set it to {CHECKOUT}/src"
        )


def check_options():
    """One config, and at least one core."""
    files = [str(file) for file in workflow.config_settings.configfiles]
    if len(files) > 1:
        raise WorkflowError(
            f"a run has one config, not {len(files)} ({', '.join(files)}): name one after "
            "--configfile, and targets before it or after --"
        )
    cores = workflow.resource_settings.cores
    if cores is not None and cores < 1:
        raise WorkflowError(f"--cores {cores}: give at least 1, or all")


def check_cores(jobs):
    """Refuse more jobs at once than this machine can work on; an estimate only computes with it."""
    here = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    most = JOBS_A_CORE * here
    here_only = workflow.local_exec and workflow.is_main_process
    working = any(job.rule.name != "estimate" for job in jobs)
    if here_only and working and workflow.cores > most:
        raise WorkflowError(
            f"--cores {workflow.cores}: this machine has {here}; give at most {most}, or all"
        )


def lift_dead_lock():
    """Remove Snakemake's lock if the run that held it was on this machine and is dead."""
    from unlearning.runtime import owner

    if workflow.is_main_process and owner.lift():
        logger.warning("The lock of an earlier run, which was killed, is lifted.")


check_library()
check_options()
lift_dead_lock()
# The jobs run `python`: the one that runs Snakemake, also without the environment activated.
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()])
)
