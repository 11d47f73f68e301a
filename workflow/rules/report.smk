# Report: runs.csv from the records; tables, figures, audit, paper and page from the CSV files alone.


localrules:
    resolve_config,
    collect,
    first_table,
    rulegraph,
    tune,
    rank_candidates,
    estimate,


rule estimate:
    """What the run will cost: jobs, hours, storage, longest chain; nothing else is run."""
    log:
        results("logs/estimate.log"),
    conda:
        "../../environment.yml"
    params:
        config=lambda w: canonical_json(CONFIG.model_dump()),
        figures=[*FIGURES, *(STUDY_FIGURES if STUDIES else [])],
        gpu=config.get("gpu", "a100"),
        cores=lambda w: workflow.cores,
    message:
        "estimate run {CONFIG.run}"
    shell:
        "python -m unlearning estimate --config {params.config:q} --figures {params.figures}"
        " --cores {params.cores} --gpu {params.gpu:q} 2>&1 | tee {log}"


rule resolve_config:
    """Write the checked config beside the results."""
    output:
        results("config.json"),
    log:
        results("logs/config.log"),
    priority: 1_000_000
    conda:
        "../../environment.yml"
    params:
        config=lambda w: canonical_json(CONFIG.model_dump()),
        code=code("resolve"),
    message:
        "write the checked config of run {CONFIG.run}"
    shell:
        "python -m unlearning resolve --config {params.config:q} --out {output} > {log} 2>&1"


rule collect:
    """One row a cell: pure concatenation of records and metrics, and the manifest of records."""
    input:
        lambda w: files_of(JOBS.collected()),
        config=results("config.json"),
    output:
        runs=results("runs.csv"),
        manifest=results("manifest.csv"),
        roc=results("roc.csv"),
        ensembles=results("ensembles.csv"),
    log:
        results("logs/collect.log"),
    conda:
        "../../environment.yml"
    params:
        root=lambda w, output: os.path.dirname(output[0]),
        code=code("collect"),
    message:
        "collect every cell into {output.runs}"
    shell:
        "python -m unlearning collect --config {input.config} --root {params.root}"
        " --out {params.root} > {log} 2>&1"


rule first_table:
    """The table of class removal as soon as its cells are scored; it is shown meanwhile."""
    input:
        lambda w: files_of(JOBS.first()),
        config=results("config.json"),
    output:
        runs=results("first/runs.csv"),
        table=results("first/class_removal.txt"),
    log:
        results("logs/first_table.log"),
    priority: 1_000_000
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("tabulate"),
    params:
        root=lambda w, input: os.path.dirname(input.config),
        out=lambda w, output: os.path.dirname(output.runs),
        code=code("first"),
    message:
        "tabulate class removal, the first table"
    shell:
        "python -m unlearning first --config {input.config} --root {params.root}"
        " --out {params.out} > {log} 2>&1"


rule tabulate:
    """The tables, from runs.csv and ensembles.csv."""
    input:
        runs=measured("runs.csv"),
        ensembles=measured("ensembles.csv"),
    output:
        TABLED,
    log:
        results("logs/tabulate.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("tabulate"),
    params:
        folder=lambda w, output: os.path.dirname(output[0]),
        code=code("tabulate"),
    message:
        "tabulate {input.runs}"
    shell:
        "python -m unlearning tabulate --runs {input.runs} --ensembles {input.ensembles}"
        " --out {params.folder} > {log} 2>&1"


rule plot:
    """One figure, from its CSV file alone."""
    input:
        lambda w: measured(f"{SOURCES[w.figure]}.csv"),
    output:
        multiext(results("figures/{figure}"), ".svg", ".pdf", ".png", ".csv"),
    log:
        results("logs/figures/{figure}.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("plot"),
    params:
        stem=lambda w, output: os.path.splitext(output[0])[0],
        script="figures/{figure}.py",
        code=lambda w: script_hash(
            *shipped(
                f"figures/{w.figure}.py",
                "figures/common.py",
                "figures/dot_rows.py",
                "figures/style.*",
                "src/unlearning/report/labels.py",
            )
        ),
    message:
        "draw {wildcards.figure}"
    shell:
        "python -m unlearning draw {params.script} --runs {input} --out {params.stem}"
        " > {log} 2>&1"


rule tune:
    """The search for settings: its trace, published settings beside searched ones, a figure."""
    input:
        results("tuning.csv"),
        printed(["tuning"]),
        multiext(results("figures/tuning"), ".svg", ".pdf", ".png", ".csv"),


rule rank_candidates:
    """Which candidate of each method is best on images that no table reports (`search`)."""
    input:
        lambda w: files_of(JOBS.ranked()),
        config=results("config.json"),
    output:
        trace=results("tuning.csv"),
        table=printed(["tuning"]),
    log:
        results("logs/tune.log"),
    conda:
        "../../environment.yml"
    params:
        table=lambda w, output: os.path.splitext(output.table[0])[0],
        root=lambda w, output: os.path.dirname(output[0]),
        spaces=script_hash(*shipped("configs/methods/*.yaml")),
        code=code("tune"),
    message:
        "rank the candidates of every method"
    shell:
        "python -m unlearning tune --config {input.config} --root {params.root}"
        " --out {output.trace} --table {params.table} > {log} 2>&1"


rule audit:
    """Every reported number and every claim of the paper beside this run, with a verdict."""
    input:
        FOUND,
        config=measured("config.json"),
    output:
        AUDIT,
    log:
        results("logs/audit.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("audit"),
    params:
        source=lambda w, input: os.path.dirname(input.config),
        out=lambda w, output: os.path.dirname(output[0]),
        documents=script_hash(*shipped(*AUDITED)),
        code=code("audit"),
    message:
        "audit {params.source}"
    shell:
        "python -m unlearning audit --source {params.source} --out {params.out} > {log} 2>&1"


rule paper:
    """The document as PDF; a number that its text asks for and the run lacks is an error."""
    input:
        FOUND + DOCUMENTED + AUDIT,
        config=measured("config.json"),
    output:
        results("paper.pdf"),
    log:
        results("logs/paper.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("paper"),
    params:
        source=lambda w, input: os.path.dirname(input.config),
        made=lambda w, output: os.path.dirname(output[0]),
        documents=script_hash(*shipped(*TYPESET)),
        code=code("typeset"),
    message:
        "typeset {output}"
    shell:
        "python -m unlearning typeset --source {params.source} --made {params.made}"
        " --out {output} > {log} 2>&1"


rule rulegraph:
    """Which rule needs which, of the run that made the numbers."""
    input:
        config=measured("config.json"),
    output:
        results("rulegraph.dot"),
    log:
        results("logs/rulegraph.log"),
    conda:
        "../../environment.yml"
    params:
        rules=script_hash(*shipped("Snakefile", "workflow/rules/*.smk")),
    message:
        "draw the graph of the rules"
    shell:
        'snakemake --snakefile "$UNLEARNING_CHECKOUT/Snakefile" --rulegraph --nolock'
        " --configfile {input.config} > {output} 2> {log}"


rule report:
    """One HTML page that needs nothing but itself: audit, tables, figures, DAG, provenance."""
    input:
        FOUND + DOCUMENTED + AUDIT,
        config=measured("config.json"),
        rulegraph=results("rulegraph.dot"),
    output:
        results("report.html"),
    log:
        results("logs/report.log"),
    conda:
        "../../environment.yml"
    resources:
        runtime=minutes(5),
        mem_mb=memory("report"),
    params:
        source=lambda w, input: os.path.dirname(input.config),
        made=lambda w, output: os.path.dirname(output[0]),
        template=script_hash(*shipped("workflow/report/*")),
        code=code("report"),
    message:
        "write {output}"
    shell:
        "python -m unlearning report --source {params.source} --made {params.made}"
        " --rulegraph {input.rulegraph} --out {output} > {log} 2>&1"
