"""A run beside other work states no times."""

from __future__ import annotations

from unlearning.records.record import read_record
from unlearning.stages import unlearn


def run(tiny_run, folder):
    """Unlearn the tiny run's class with DUCK again, into `folder`; its record."""
    argv = list(tiny_run.commands["unlearn", "duck", "class-1"])
    for option, name in (("model", "m"), ("outputs", "o"), ("record", "record.json")):
        argv[argv.index(f"--{option}") + 1] = str(folder / name)
    unlearn.main(argv)
    return read_record(folder / "record.json")


def test_untimed_cells_keep_their_seconds_apart(tiny_run, tmp_path, monkeypatch):
    timed = run(tiny_run, tmp_path / "timed")
    assert timed["timed"] and 0 < timed["unlearning_seconds"] == timed["wall_seconds"]
    monkeypatch.setenv("UNLEARNING_UNTIMED", "1")
    untimed = run(tiny_run, tmp_path / "untimed")
    assert not untimed["timed"] and untimed["wall_seconds"] > 0
    assert untimed["unlearning_seconds"] is untimed["official_seconds"] is None
    assert untimed["outputs"] == timed["outputs"]  # the same model and logits
