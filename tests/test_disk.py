"""What a run holds on the disk, and how parts of it that were made apart come together."""

from __future__ import annotations

import shutil

import pytest
import yaml
from workspace import Workspace

from unlearning.config.parsing import ConfigError, parse
from unlearning.files import write_sealed
from unlearning.records.record import SEAL, read_record

ROOT = "results/tiny"
RUNS = f"{ROOT}/runs.csv"
SCORES = f"{ROOT}/fashion_mnist_mini-strided_cnn/scores/class_removal/class-0/train-0.json"
GRID = {
    "dataset": "fashion_mnist_mini",
    "arch": "strided_cnn",
    "training": {"epochs": 1, "batch_size": 128, "lr": 0.1, "schedule": "onecycle"},
    "train_seeds": [0],
    "scenarios": {"class_removal": {"forget": [0]}},
    "methods": [{"name": "duck", "method": "duck", "settings": {"epochs": 1}}],
}


def write(space: Workspace, name: str = "tiny", run: dict | None = None, **grid: object) -> None:
    config = {"run": "tiny", "experiments": [GRID | grid]} | (run or {})
    (space.root / f"configs/{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def weights(space: Workspace, folder: str) -> list[str]:
    found = (space.root / ROOT).glob(f"*/{folder}/**/model.safetensors")
    return sorted(str(path.relative_to(space.root / ROOT)) for path in found)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A finished run that keeps only its scores."""
    space = Workspace.create(tmp_path_factory.mktemp("disk"))
    write(space, run={"keep": "scores"})
    status, text = space.snakemake(RUNS)
    assert status == 0, text
    return space


def test_weights_go_once_nothing_needs_them_and_nothing_runs_again(space):
    assert weights(space, "runs") == []
    assert len(weights(space, "originals")) == len(weights(space, "oracles")) == 1
    assert len(list((space.root / ROOT).glob("*/runs/**/outputs.safetensors"))) == 3
    assert space.planned(RUNS) == {}
    words = ("python", "-m", "unlearning", "verify", "--root", ROOT)
    status, text = space.command(*words)
    assert status == 0, text


def test_cells_without_weights_and_those_of_another_run_exclude_each_other():
    with pytest.raises(ConfigError, match="keep: scores is for a run of its own cells"):
        parse({"run": "a", "experiments": [GRID], "keep": "scores", "models": "results/b"}, "a")


# --- parts of one run ---


@pytest.fixture(scope="module")
def parts(space, tmp_path_factory):
    """Two working folders with one data set and one original: each has run another method."""
    first = Workspace(shutil.copytree(space.root, tmp_path_factory.mktemp("parts") / "first"))
    methods = [*GRID["methods"], {"name": "fine_tuning", "method": "fine_tuning"}]
    write(first, methods=methods)
    second = Workspace(shutil.copytree(first.root, first.root.with_name("second")))
    cell = "fashion_mnist_mini-strided_cnn/runs/class_removal/class-0/train-0/{}/unlearn-0"
    shutil.rmtree(second.root / ROOT / cell.format("duck"))
    for part in (first, second):
        (part.root / RUNS).unlink()
        status, text = part.snakemake(f"{ROOT}/config.json")
        assert status == 0, text
    target = f"{ROOT}/{cell.format('fine_tuning')}/record.json"
    status, text = second.snakemake(target)
    assert status == 0, text
    return first, second


def merge(into: Workspace, *parts: Workspace) -> tuple[int, str]:
    folders = [str(part.root / ROOT) for part in parts]
    return into.command("python", "-m", "unlearning", "merge", "--into", ROOT, *folders)


def fresh(parts, folder) -> Workspace:
    """A working folder with the config and the data set, and nothing made."""
    merged = Workspace(shutil.copytree(parts[0].root, folder / "merged"))
    for made in ("results", ".snakemake"):
        shutil.rmtree(merged.root / made)
    return merged


def test_merged_parts_are_a_run_that_lacks_only_what_no_part_has(parts, tmp_path):
    merged = fresh(parts, tmp_path)
    status, text = merge(merged, *parts)
    assert status == 0, text
    assert merged.planned(SCORES) == {"score": 1}  # no part had all cells
    # What Snakemake knew of the cells came along: an edit of one method runs it again, alone.
    merged.edit("src/unlearning/methods/duck.py", "from __future__", "OTHER = 1\nfrom __future__")
    assert merged.planned(SCORES) == {"score": 1, "unlearn": 1}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("code_sha256", "0" * 64, "made by other code than in"),
        ("inputs", {"data": "0" * 64}, "made of other data than in"),
        ("inputs", {"start": "0" * 64}, "made from another start than"),
    ],
)
def test_parts_of_other_code_or_data_are_refused(parts, tmp_path, key, value, said):
    merged, other = fresh(parts, tmp_path), tmp_path / "other"
    third = Workspace(shutil.copytree(parts[1].root, other))
    record = next((third.root / ROOT).glob("*/runs/**/original/unlearn-0/record.json"))
    found = read_record(record)
    found[key] = {**found[key], **value} if isinstance(value, dict) else value
    write_sealed(record, {k: v for k, v in found.items() if k != SEAL}, SEAL)
    status, text = merge(merged, parts[0], third)
    assert status == 1 and said in text and "nothing was merged" in text, text
    assert not (merged.root / ROOT).exists()


def test_a_part_of_another_config_is_refused(parts, tmp_path):
    merged = fresh(parts, tmp_path)
    third = Workspace(shutil.copytree(parts[1].root, tmp_path / "other"))
    config = third.root / ROOT / "config.json"
    config.write_text(config.read_text().replace('"lr": 0.1', '"lr": 0.2'))
    status, text = merge(merged, parts[0], third)
    assert status == 1 and "its config is another one" in text
