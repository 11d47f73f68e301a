"""The profiles: what counts as a change, and that all of them say the same about it."""

from __future__ import annotations

import os
import shutil
import time

import pytest
import yaml
from workspace import PROJECT, Workspace

PROFILES = ("local", "slurm", "generic")
DATA = "data/fashion_mnist_mini.safetensors"
ORIGINAL = "results/tiny/fashion_mnist_mini-strided_cnn/originals/train-0/model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with one original, trained through the local profile."""
    space = Workspace.create(tmp_path_factory.mktemp("profiles"))
    status, text = space.snakemake(ORIGINAL, "--workflow-profile", "workflow/profiles/local")
    assert status == 0, text
    return space


def planned(space, *words):
    return set(space.planned(ORIGINAL, *words)) - {ORIGINAL}


def through(profile):
    return ("--workflow-profile", f"workflow/profiles/{profile}")


def make_newer(space):
    later = time.time() + 10
    os.utime(space.root / DATA, (later, later))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_touched_input_trains_nothing(trained, profile):
    make_newer(trained)
    assert planned(trained, *through(profile)) == set()
    # The profile does this: without it, what is newer and larger than 1 MB is taken as changed.
    assert planned(trained) == {"train_original"}


@pytest.mark.parametrize("profile", PROFILES)
def test_another_content_trains(trained, profile):
    data = trained.root / DATA
    content = data.read_bytes()
    try:
        data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        make_newer(trained)
        assert planned(trained, *through(profile)) == {"train_original"}
    finally:
        data.write_bytes(content)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_setting_and_code_train_and_a_comment_does_not(trained, profile):
    with trained.restored():
        trained.edit("src/unlearning/recipe.py", "from __future__", "# a comment\nfrom __future__")
        assert planned(trained, *through(profile)) == set()
        trained.edit("src/unlearning/training/loop.py", "seconds", "secs")
        assert planned(trained, *through(profile)) == {"train_original"}
    with trained.restored():
        trained.edit("configs/tiny.yaml", "lr: 0.1", "lr: 0.2")
        assert planned(trained, *through(profile)) == {"train_original"}


def test_a_copy_with_new_times_trains_nothing(trained, tmp_path):
    """As `cp -r` makes it, with `.snakemake`: every input is as new as every output, or newer."""
    copy = shutil.copytree(trained.root, tmp_path / "copy", copy_function=shutil.copyfile)
    space = Workspace(copy)
    make_newer(space)
    assert planned(space, *through("local")) == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_holds_options_and_a_group_no_training(profile):
    text = (PROJECT / f"workflow/profiles/{profile}/config.yaml").read_text()
    options = yaml.safe_load(text)
    assert options["max-checksum-file-size"] == "1TB"
    assert options["rerun-incomplete"] and options["keep-going"]
    grouped = {entry.split("=")[0] for entry in options.get("groups", [])}
    assert not grouped & {"train_original", "train_oracle", "train_shadow", "unlearn"}
