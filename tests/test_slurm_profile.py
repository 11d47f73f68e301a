"""The SLURM profile as its comments say to edit it: what sbatch is asked, by a stand-in for it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil

import pytest
import yaml
from workspace import PROJECT, Workspace

PROFILE = PROJECT / "workflow/profiles/slurm"
EXPERIMENT = "results/tiny/fashion_mnist_mini-strided_cnn"
ORIGINAL = f"{EXPERIMENT}/originals/train-0/model.safetensors"
# A list item or a setting behind a `# `; prose has neither form.
ITEM, SETTING = r"^(  )# (- \w+=)", r"^()# ([\w-]+: ?(?:\w.*)?$|  \w+: \{)"
LIMIT = 60
"""Minutes that a short partition allows."""

SBATCH = """#!/bin/sh
for word in "$@"; do
  printf '%s\\n' "$word" >> "$SAID"
done
echo >> "$SAID"
echo "sbatch: error: a stand-in" >&2
exit 1
"""


def uncommented(pattern: str, text: str) -> str:
    return re.sub(pattern, r"\1\2", text, flags=re.M)


@dataclasses.dataclass(frozen=True)
class Login(Workspace):
    """A login node of a cluster whose sbatch notes what it is asked, and refuses."""

    def environment(self):
        found = super().environment()
        path = f"{self.root / 'bin'}{os.pathsep}{found['PATH']}"
        return found | {"PATH": path, "SAID": str(self.root / "said")}

    def submitted(self, profile: str, *targets: str) -> list[list[str]]:
        """The words of each sbatch call, with a profile of this text."""
        folder = self.root / "profile"
        shutil.copytree(PROFILE, folder, dirs_exist_ok=True)
        (folder / "config.yaml").write_text(profile)
        (self.root / "said").unlink(missing_ok=True)
        soon = ("--slurm-init-seconds-before-status-checks", "1", "--retries", "0")
        options = ("--workflow-profile", "profile", *soon, "--configfile", "configs/tiny.yaml")
        status, text = self.command("snakemake", *options, "--", *targets)
        assert status == 1 and (self.root / "said").exists(), text
        calls = (self.root / "said").read_text().strip().split("\n\n")
        return [call.splitlines() for call in calls]


@pytest.fixture(scope="module")
def login(tmp_path_factory):
    root = tmp_path_factory.mktemp("login")
    Workspace.create(root)
    config = yaml.safe_load((root / "configs/tiny.yaml").read_text())
    config["experiments"][0]["resources"] = {"gpu": 1}
    config["experiments"][0]["scenarios"]["homogeneous_removal"]["split_seeds"] = [*range(50)]
    (root / "configs/tiny.yaml").write_text(yaml.safe_dump(config))
    (root / "bin").mkdir()
    says = {"sbatch": SBATCH, "sacctmgr": "#!/bin/sh\necho my_account\n"}
    for name in ("sbatch", "sacct", "squeue", "scontrol", "sinfo", "sacctmgr", "sshare"):
        (root / "bin" / name).write_text(says.get(name, "#!/bin/sh\n"))
        (root / "bin" / name).chmod(0o755)
    space = Login(root)
    status, text = space.snakemake("data")
    assert status == 0, text
    return space


def follows(call: list[str], option: str) -> str:
    return call[call.index(option) + 1]


def test_the_comments_of_the_profile_are_items_settings_or_prose():
    """Each that can be taken away is; all together they are a profile."""
    text = (PROFILE / "config.yaml").read_text()
    plain = yaml.safe_load(text)
    edited = yaml.safe_load(uncommented(SETTING, uncommented(ITEM, text)))
    assert len(edited["default-resources"]) == len(plain["default-resources"]) + 4
    assert len(edited["groups"]) == len(plain["groups"]) + 3
    assert len(edited["group-components"]) == len(plain["group-components"]) + 3
    assert edited.keys() - plain.keys() == {
        *("slurm-partition-config", "set-resources", "slurm-status-command")
    }
    grouped = {item.split("=")[1] for item in edited["groups"]} - {"report"}
    assert grouped == {item.split("=")[0] for item in edited["group-components"]}


def test_account_partition_and_the_like_reach_sbatch_as_they_are(login):
    text = uncommented(ITEM, (PROFILE / "config.yaml").read_text())
    (call,) = login.submitted(text, ORIGINAL)
    assert follows(call, "-A") == "my_account" and follows(call, "-p") == "main"
    assert follows(call, "-C") == "a100" and "--mail-type=FAIL" in call
    assert "--gpus=1" in call and follows(call, "-t") == "30"


def test_partitions_of_their_own_and_gres_reach_sbatch(login):
    text = uncommented(SETTING, (PROFILE / "config.yaml").read_text())
    (call,) = login.submitted(text, ORIGINAL)
    assert follows(call, "-p") == "gpu"
    assert "--gres=gpu:1" in call and not [word for word in call if word.startswith("--gpus")]


def test_fifty_forget_sets_in_one_submission_ask_for_minutes(login):
    splits = [f"{EXPERIMENT}/splits/homogeneous_removal/seed-{seed}.json" for seed in range(50)]
    (call,) = login.submitted((PROFILE / "config.yaml").read_text(), *splits)
    assert 1 < int(follows(call, "-t")) <= LIMIT


def test_every_rule_that_is_submitted_states_its_minutes():
    """Those of Snakemake's `rule` blocks; `use rule` takes over what its model states."""
    text = "\n".join(path.read_text() for path in sorted(PROJECT.glob("workflow/rules/*.smk")))
    blocks = re.findall(r"^localrules:\n((?:    \w+,\n)+)", text, re.M)
    local = re.findall(r"\w+", "".join(blocks))
    rules = re.split(r"^rule (\w+):$", text, flags=re.M)[1:]
    submitted = {
        name: body
        for name, body in zip(rules[::2], rules[1::2], strict=True)
        if name not in local and "    shell:" in body.split("\nuse rule ")[0]
    }
    assert len(submitted) > 10
    assert [name for name, body in submitted.items() if "        runtime=" not in body] == []
