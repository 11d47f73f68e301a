"""reported.csv: the repository's own, the names it may use, and files that must be refused."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from unlearning.audit.reported import (
    COLUMNS,
    GAP,
    METRICS,
    OWN_METHODS,
    Metric,
    own_dataset,
    own_method,
    own_scenario,
    read_reported,
)

ROOT = Path(__file__).parents[1]
REPORTED = ROOT / "paper/reported.csv"
USUAL = {
    "source": "a table",
    "dataset": "CIFAR10",
    "scenario": "HR",
    "method": "DUCK",
    "metric": "AUS",
    "mean": "0.93",
    "exactness": "text",
}


def written(path: Path, *rows: dict, header=COLUMNS) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows([row.get(name, "") for name in COLUMNS] for row in rows)
    return path


@pytest.fixture(scope="module")
def numbers():
    return {number.row: number for number in read_reported(REPORTED)}


def test_the_repositorys_file_is_whole(numbers):
    """128 rows of the first transcription, at the lines 2 to 129; more may follow."""
    assert list(numbers)[:128] == list(range(2, 130))
    duck = next(n for n in numbers.values() if n.printed == "71.57")
    assert (duck.dataset, duck.method, duck.metric) == ("CIFAR100", "DUCK", "A_r^t (%)")
    original = numbers[2]
    assert (original.mean, original.spread, original.spread_over) == (88.72, 0.28, "forget sets")
    assert all(math.isnan(numbers[row].spread) for row in range(10, 130))


@pytest.mark.parametrize(
    ("row", "printed", "error"),
    [
        (2, "88.72", 0.005),  # a constant of the code: rounding
        (7, "68.4", 0.05),
        (10, "365.6", 3.656),  # read off a plot to 1 %
        (11, "77.31", 0.1),
        (12, "0.998", 0.001),
        (13, "-0.0", 0.25),  # derived
        (80, "0.849", 0.0005),  # a table that was transcribed
        (108, "16.0", 0.1),
        (128, "99.5", 0.05),
    ],
)
def test_how_far_a_number_may_be_off(numbers, row, printed, error):
    assert numbers[row].printed == printed
    assert numbers[row].error == pytest.approx(error, rel=1e-12)


def test_every_row_maps_or_is_one_of_those_without_counterpart(numbers):
    mapped = {
        row: (
            own_dataset(number.dataset, ()),
            own_scenario(number.scenario),
            own_method(number.method),
            METRICS.get(number.metric),
        )
        for row, number in numbers.items()
    }
    lost = {row for row, names in mapped.items() if None in names}
    vggface, self_forget, rest = {8, 9}, {90, 91, 92, 93}, set(range(113, 130))
    assert lost == vggface | self_forget | rest
    assert mapped[10] == (
        *("cifar100", "class_removal", "fine_tuning"),
        Metric("unlearning_seconds", 1),
    )
    assert mapped[100] == ("cifar100", "homogeneous_removal", "duck", Metric(GAP, 100))
    assert mapped[66][2:] == ("oracle", Metric("retain_test_accuracy", 100))


@pytest.mark.parametrize(
    ("printed", "own"),
    [
        ("Original (ResNet18)", "original"),
        ("Retrained", "oracle"),
        ("FT", "fine_tuning"),
        ("NG", "negative_gradient"),
        ("RL", "random_labels"),
        ("BE", "boundary_expanding"),
        ("BS", "boundary_shrink"),
        ("ERM", "erm_ktp"),
        ("SCAR", "scar"),
        ("SCAR self-forget", None),
        ("shadow ResNet18", None),
        ("base", None),
        ("salun", "salun"),
    ],
)
def test_methods_by_the_papers_and_by_our_names(printed, own):
    assert own_method(printed) == own


def test_other_names_by_ours():
    assert {path.stem for path in (ROOT / "configs/methods").glob("*.yaml")} == OWN_METHODS
    assert own_scenario("class_removal") == own_scenario("CR") == "class_removal"
    assert own_scenario("starter kit") is None
    assert own_dataset("cifar10", ()) == own_dataset("CIFAR10", ()) == "cifar10"
    assert own_dataset("svhn", ["svhn"]) == "svhn"
    assert own_dataset("svhn", ()) is own_dataset("CIFAR10 (presumed)", ()) is None
    assert METRICS["aus"] == METRICS["AUS"] == Metric("aus", 1)
    assert METRICS["js_forget"] == Metric("js_forget", 1)
    assert "shadow_models" not in METRICS


def test_a_row_with_our_names_and_a_spread(tmp_path):
    row = USUAL | {"mean": "9.3e-1", "spread": "0", "spread_over": "classes", "note": "mine"}
    (found,) = read_reported(written(tmp_path / "r.csv", row))
    assert (found.row, found.printed, found.mean, found.spread) == (2, "9.3e-1", 0.93, 0.0)
    assert found.error == pytest.approx(0.005)
    assert found.note == "mine"
    zero = written(tmp_path / "z.csv", USUAL | {"mean": "-12.5", "exactness": "derived ± 2 %"})
    assert read_reported(zero)[0].error == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exactness": "exact"}, "exactness 'exact' is none of text"),
        ({"exactness": "derived"}, "exactness 'derived'"),
        ({"exactness": "derived ± -1"}, "exactness 'derived ± -1'"),
        ({"exactness": "read off a plot +- 0.1"}, "exactness"),
        ({"mean": "about 3"}, "mean 'about 3' is not a number"),
        ({"mean": ""}, "mean '' is not a number"),
        ({"mean": "nan"}, "mean 'nan' is not a number"),
        ({"spread": "x", "spread_over": "classes"}, "spread 'x' is not a number"),
        ({"spread": "0.1"}, "spread and spread_over need each other"),
        ({"spread_over": "classes"}, "spread and spread_over need each other"),
        ({"spread": "-0.1", "spread_over": "classes"}, "spread -0.1 is negative"),
        ({"source": " "}, "source is empty"),
        ({"metric": ""}, "metric is empty"),
    ],
)
def test_a_row_that_cannot_be_used_names_file_line_and_reason(tmp_path, change, reason):
    path = written(tmp_path / "mine.csv", USUAL, USUAL | {"method": "FT"} | change)
    with pytest.raises(ValueError, match=r"mine\.csv, line 3: ") as error:
        read_reported(path)
    assert reason in str(error.value)


def test_a_row_given_twice_another_header_and_another_length(tmp_path):
    twice = written(tmp_path / "r.csv", USUAL, USUAL | {"method": "FT"}, USUAL)
    with pytest.raises(ValueError, match=r"r\.csv, line 4: the same row as line 2"):
        read_reported(twice)
    header = written(tmp_path / "r.csv", USUAL, header=COLUMNS[:-1])
    with pytest.raises(ValueError, match=r"line 1: the columns must be source,version"):
        read_reported(header)
    with open(written(tmp_path / "r.csv", USUAL), "a", encoding="utf-8") as handle:
        handle.write("a,b\n")
    with pytest.raises(ValueError, match="line 3: 2 values for 12 columns"):
        read_reported(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text("")
    with pytest.raises(ValueError, match="line 1: the columns must be"):
        read_reported(tmp_path / "r.csv")


def test_a_spreadsheets_file(tmp_path):
    """A byte order mark is no matter; another encoding of ± is named."""
    row = USUAL | {"exactness": "derived ± 0.1"}
    text = written(tmp_path / "r.csv", row).read_text(encoding="utf-8")
    (tmp_path / "r.csv").write_text(text, encoding="utf-8-sig")
    assert read_reported(tmp_path / "r.csv")[0].error == pytest.approx(0.1)
    (tmp_path / "r.csv").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"r\.csv: not UTF-8"):
        read_reported(tmp_path / "r.csv")
