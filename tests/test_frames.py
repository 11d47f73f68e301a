"""CSV files as frames: what is read, and what a file that is not as it should be is told."""

from __future__ import annotations

import math

import pytest

from unlearning.frames import Schema, read_table


def file(folder, text, mark=""):
    path = folder / "file.csv"
    path.write_text(mark + text, encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_stays_text_and_numbers_are_floats_with_or_without_a_mark(tmp_path, mark):
    path = file(tmp_path, "split,seed,aus,more\nclass-é,007,0.1,x\nNA,,,y\n", mark)
    found = read_table(path, Schema(["split", "seed", "aus", "new"], ["aus"], later=["new"]))
    assert list(found) == ["split", "seed", "aus", "new"]
    assert found["split"].tolist() == ["class-é", "NA"] and found["seed"].tolist() == ["007", ""]
    assert found["aus"].iloc[0] == 0.1 and math.isnan(found["aus"].iloc[1])
    assert found["new"].tolist() == ["", ""]
    assert list(read_table(path)) == ["split", "seed", "aus", "more"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split\na\n", "no column aus, seed"),
        ("split,aus,seed\na,high,0\n", "column aus: could not convert string to float: 'high'"),
        ("split,aus,seed\na,1,0\nb,1,0\na,2,0\n", "a cell is given twice: split=a, seed=0"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named_with_the_reason(tmp_path, text, said):
    schema = Schema(["split", "aus", "seed"], ["aus"], key=["split", "seed"], row="cell")
    with pytest.raises(ValueError, match=rf"file\.csv: {said}"):
        read_table(file(tmp_path, text), schema)
