# Report: runs.csv from the records, tables and figures from runs.csv alone.


localrules:
    resolve_config,
    collect,
    tune,


rule resolve_config:
    """Write the checked config beside the results."""
    output:
        results("config.json"),
    log:
        results("logs/config.log"),
    conda:
        "../../environment.yml"
    params:
        config=canonical_json(CONFIG.model_dump()),
        code=code("resolve"),
    message:
        "write the checked config of run {CONFIG.run}"
    shell:
        "python -m unlearning resolve --config {params.config:q} --out {output} > {log} 2>&1"


rule collect:
    """One row a cell: pure concatenation of records and metrics."""
    input:
        lambda w: finished(CELLS) + measured(),
        config=results("config.json"),
    output:
        runs=results("runs.csv"),
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


rule tabulate:
    """The tables, from runs.csv and ensembles.csv."""
    input:
        runs=results("runs.csv"),
        ensembles=results("ensembles.csv"),
    output:
        TABLES,
    log:
        results("logs/tabulate.log"),
    conda:
        "../../environment.yml"
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
        lambda w: results(f"{(RESULT_FIGURES | STUDY_FIGURES)[w.figure]}.csv"),
    output:
        multiext(results("figures/{figure}"), ".svg", ".pdf", ".png", ".csv"),
    log:
        results("logs/figures/{figure}.log"),
    conda:
        "../../environment.yml"
    params:
        stem=lambda w, output: os.path.splitext(output[0])[0],
        script="figures/{figure}.py",
        code=lambda w: figure_code(w.figure),
    message:
        "draw {wildcards.figure}"
    shell:
        "python {params.script} --runs {input} --out {params.stem} > {log} 2>&1"


rule tune:
    """Which candidate of each method is best on held-out training images (`search`)."""
    input:
        lambda w: finished(TUNING_CELLS),
    output:
        results("tuning.csv"),
    log:
        results("logs/tune.log"),
    conda:
        "../../environment.yml"
    params:
        config=tuning_config,
        root=lambda w, output: os.path.dirname(output[0]),
        code=code("tune"),
    message:
        "rank the candidates of every method"
    shell:
        "python -m unlearning tune --config {params.config:q} --root {params.root}"
        " --out {output} > {log} 2>&1"
