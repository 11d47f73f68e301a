# The DUCK replication from data to tables and figures. Wiring only: the work is in
# src/unlearning (run by `python -m unlearning VERB`), the rules in workflow/rules.
#   snakemake --cores 2                                      the embedded default
#   snakemake --cores 2 --configfile configs/fashion.yaml    another run; -n: only plan it
#   snakemake --cores 2 --config runs=paper/reference/fashion  a finished run, drawn again
# Files are read and written below the working folder, data/ and results/; configs/, figures/ and
# paper/ are those beside this file: snakemake --snakefile PATH/Snakefile works in any folder.
from snakemake.utils import min_version

min_version("9.0")

RUN_CONFIG = f"{config['runs']}/config.json" if "runs" in config else None

if not workflow.configfiles:  # none was given: a config never merges with another

    configfile: os.path.relpath(RUN_CONFIG or f"{workflow.basedir}/configs/mini.yaml")


include: "workflow/rules/place.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/start.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/take.smk"
include: "workflow/rules/unlearn.smk"
include: "workflow/rules/adopt.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/understand.smk"
include: "workflow/rules/deposit.smk"


onstart:
    begin()


rule all:
    """Everything: runs.csv, tables and figures, the studies, audit, paper and report."""
    default_target: True
    input:
        FIRST + FOUND + DOCUMENTED + AUDIT + WRITTEN,


rule data:
    """Data sets and pretrained weights alone, e.g. on a login node that has the network."""
    input:
        [job.outputs["data"] for job in JOBS.fetched()],


rule models:
    """The originals and the oracles alone."""
    input:
        [job.outputs["model"] for job in JOBS.models()],


rule tables:
    """The tables as CSV, Markdown, LaTeX and HTML."""
    input:
        TABLED + (STUDY_PAGES if STUDIES else []),


rule figures:
    """The figures as SVG, PDF and PNG, each with its numbers as CSV."""
    input:
        PICTURES,
