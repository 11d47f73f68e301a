# Taking what another run has made, as given (`models`): nothing is trained or unlearned, and no
# edit of the code makes it again.


localrules:
    adopt_model,
    adopt_outputs,
    adopt_cell,


ruleorder: adopt_model > train_original
ruleorder: adopt_model > take_original
ruleorder: adopt_model > take_unlearned
ruleorder: adopt_model > train_oracle
ruleorder: adopt_outputs > evaluate
ruleorder: adopt_outputs > train_shadow
ruleorder: adopt_cell > unlearn


rule adopt_model:
    """Take an original or an oracle of another run."""
    input:
        unpack(same_inputs),
    output:
        model=results("{taken}/model.safetensors"),
        record=results("{taken}/record.json"),
    log:
        results("logs/adopt/{taken}.log"),
    wildcard_constraints:
        taken=taken("train", "take"),
    priority: 10**6
    conda:
        "../../environment.yml"
    params:
        source=lambda w: GIVEN.source,
        root=lambda w, output: output.record.partition(w.taken)[0].rstrip("/"),
        record_sha256=lambda w: GIVEN.taken[w.taken],
        verb=lambda w: WANTED_MODELS[w.taken].verb,
        split=lambda w, input: (
            f"--split {input.split}" if "split" in input.keys() else ""
        ),
    message:
        "take {wildcards.taken} as given"
    shell:
        "python -m unlearning adopt --source {params.source:q} --root {params.root}"
        " --folder {wildcards.taken} --record-sha256 {params.record_sha256}"
        " --verb {params.verb} --data {input.data} {params.split} > {log} 2>&1"


use rule adopt_model as adopt_outputs with:
    output:
        outputs=results("{taken}/outputs.safetensors"),
        record=results("{taken}/record.json"),
    wildcard_constraints:
        taken=taken("evaluate", "shadow"),


use rule adopt_model as adopt_cell with:
    output:
        model=results("{taken}/model.safetensors"),
        outputs=results("{taken}/outputs.safetensors"),
        record=results("{taken}/record.json"),
    wildcard_constraints:
        taken=taken("unlearn"),
