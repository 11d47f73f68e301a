"""A folder of one's own images: described, packed at one size, and refused file by file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import METHOD_FILES, ROOT
from PIL import Image

from unlearning.config import hyperparameters
from unlearning.config.parsing import ConfigError, parse
from unlearning.data.batches import load_packed
from unlearning.data.catalogue import ChecksumError, DataError, DatasetInfo, FormatError, catalogue
from unlearning.data.own_images import read_own
from unlearning.data.sources import fetch
from unlearning.stages import describe

DATASETS = catalogue(ROOT / "configs" / "datasets.csv")
METHODS = hyperparameters.known_methods(METHOD_FILES)
SIZE = 8
EXPERIMENT = {
    "dataset": "pets",
    "arch": "strided_cnn",
    "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
    "train_seeds": [0],
    "scenarios": {"class_removal": {"forget": [0]}},
    "methods": ["duck"],
}


def image(seed: int, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], bands) if bands > 1 else (size[1], size[0])
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(values, mode)


def save(picture: Image.Image, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path) -> Path:
    """cat and dog, ten images each, no parts."""
    folder = tmp_path / "pets"
    for k in range(20):
        save(image(k), folder / ("cat", "dog")[k % 2] / f"{k:02}.png")
    return folder


@pytest.fixture
def parted(tmp_path) -> Path:
    """cat and dog, three images each for training and two for testing."""
    folder = tmp_path / "pets"
    for part, count in (("train", 3), ("test", 2)):
        for k in range(2 * count):
            save(image(k + 50), folder / part / ("cat", "dog")[k % 2] / f"{part}{k}.png")
    return folder


def described(folder: Path, capsys, *options: str) -> dict:
    """What `describe` prints, read as YAML."""
    describe.main([str(folder), "--size", str(SIZE), *options])
    return yaml.safe_load(capsys.readouterr().out)


def config(lines: dict, **changes):
    raw = {"run": "mine", **lines, "experiments": [EXPERIMENT], **changes}
    return parse(raw, "mine.yaml", DATASETS, METHODS)


def own(folder: Path, capsys, *options: str) -> DatasetInfo:
    """The data set of a folder, by way of its printed lines and a config."""
    return config(described(folder, capsys, *options)).own_datasets["pets"]


def test_the_printed_lines_are_a_config_that_packs_the_folder(pets, tmp_path, capsys):
    lines = described(pets, capsys)
    info = config(lines).own_datasets["pets"]
    assert (info.classes, info.train, info.test, info.channels, info.size) == (2, 16, 4, 3, SIZE)
    assert DatasetInfo.from_json(info.as_json()) == info
    fetch(info, tmp_path, lines["sources"]["pets"])
    facts, arrays = load_packed(tmp_path / "pets.safetensors")
    assert facts["class_names"] == ["cat", "dog"]
    assert facts["files"] == {"images": info.own.checksum}
    assert arrays["train_images"].shape == (16, 3, SIZE, SIZE)
    assert arrays["test_labels"].bincount().tolist() == [2, 2]
    pixels = arrays["train_images"].double() / 255
    assert lines["datasets"]["pets"]["mean"] == pytest.approx(
        pixels.mean((0, 2, 3)).tolist(), abs=1e-4
    )
    deviations = pixels.std((0, 2, 3), correction=0).tolist()
    assert lines["datasets"]["pets"]["std"] == pytest.approx(deviations, abs=1e-4)


def names(folder: Path, info: DatasetInfo, part: str) -> set[str]:
    tensors = read_own(info, folder)[0].tensors
    return set(bytes(tensors[f"{part}_names"].tolist()).decode().split("\n"))


def test_the_held_out_share_is_drawn_by_class_and_seed(pets, capsys):
    infos = [own(pets, capsys, "--seed", seed) for seed in ("0", "0", "1")]
    held_out = [names(pets, info, "test") for info in infos]
    assert held_out[0] == held_out[1] != held_out[2]
    assert not held_out[0] & names(pets, infos[0], "train")
    assert infos[0].own.checksum == infos[2].own.checksum


def test_parts_that_exist_stay_as_they_are(parted, capsys):
    lines = described(parted, capsys)["datasets"]["pets"]
    assert (lines["train"], lines["test"]) == (6, 4) and "test_share" not in lines
    info = own(parted, capsys)
    assert names(parted, info, "test") == {"test0.png", "test1.png", "test2.png", "test3.png"}
    wanted = config(described(parted, capsys)).model_dump()
    wanted["datasets"]["pets"]["test_share"] = 0.2
    mixed = parse(wanted, "mine.yaml").own_datasets["pets"]
    with pytest.raises(FormatError, match="it has train/ and test/, so drop test_share"):
        read_own(mixed, parted)


def test_crop_takes_the_middle_square_and_stretch_the_whole(tmp_path, capsys):
    """An image thrice as wide as high: black, bright, black."""
    for name, bright in (("cat", 255), ("dog", 100)):
        values = np.zeros((SIZE, 3 * SIZE), dtype=np.uint8)
        values[:, SIZE : 2 * SIZE] = bright
        for part in ("train", "test"):
            save(Image.fromarray(values), tmp_path / "pets" / part / name / "1.png")
    folder = tmp_path / "pets"
    found = {
        kind: read_own(own(folder, capsys, "--resize", kind), folder)[0].tensors["train_images"]
        for kind in ("crop", "stretch")
    }
    assert (found["crop"][0] == 255).all() and (found["crop"][1] == 100).all()
    row = found["stretch"][0, 0, 0].tolist()
    assert row == row[::-1] and row[0] == 0 and max(row) > 200
    assert found["stretch"].shape == (2, 1, SIZE, SIZE)


def test_an_image_is_turned_as_its_camera_says(parted, capsys):
    plain = image(7, size=(SIZE, SIZE))
    turned = Image.Exif()
    turned[274] = 6  # the top is on the right: shown a quarter turned
    save(plain, parted / "train/cat/train0.png", exif=turned)
    packed = read_own(own(parted, capsys), parted)[0].tensors["train_images"][0].numpy()
    shown = np.rot90(np.asarray(plain), -1)
    np.testing.assert_array_equal(packed.transpose(1, 2, 0), shown)


def test_grey_among_colour_is_repeated_and_opaque_alpha_is_dropped(parted, capsys):
    grey, covered = image(1, "L", (SIZE, SIZE)), image(2, size=(SIZE, SIZE))
    save(grey, parted / "train/cat/train0.png")
    opaque = covered.copy()
    opaque.putalpha(255)
    save(opaque, parted / "train/cat/train2.png")
    tensors = read_own(own(parted, capsys), parted)[0].tensors
    first, second = tensors["train_images"][:2].numpy()
    np.testing.assert_array_equal(first, np.stack([np.asarray(grey)] * 3))
    np.testing.assert_array_equal(second.transpose(1, 2, 0), np.asarray(covered))


def test_the_content_identifies_a_folder_not_its_place_or_what_systems_leave(
    parted, tmp_path, capsys
):
    info = own(parted, capsys)
    (parted / ".DS_Store").write_bytes(b"x")
    (parted / "train/cat/Thumbs.db").write_bytes(b"x")
    moved = parted.rename(tmp_path / "elsewhere")
    read_own(info, moved)
    save(image(99), moved / "test/dog/test1.png")
    with pytest.raises(ChecksumError, match=r"its images have sha256:.*put them back, or run"):
        read_own(info, moved)
    (moved / "test/dog/test1.png").unlink()
    with pytest.raises(FormatError, match="test: expected 4, found 3; run `python -m unlearning"):
        read_own(info, moved)


UNFIT = {
    "part missing": (lambda f: shutil.rmtree(f / "test"), "train/ is there and the other"),
    "class in one part": (lambda f: shutil.rmtree(f / "test/dog"), "test: at least two class"),
    "class in test alone": (
        lambda f: shutil.copytree(f / "test/cat", f / "test/eel"),
        "train: no folder of class 'eel', test has one",
    ),
    "one class": (
        lambda f: [shutil.rmtree(f / part / "dog") for part in ("train", "test")],
        "train: at least two class folders are needed, found cat",
    ),
    "empty class": (
        lambda f: (f / "train/eel").mkdir(),
        "train/eel: no image of this class",
    ),
    "stray file": (lambda f: (f / "train/notes.txt").touch(), "train/notes.txt: a stray file"),
    "another kind": (
        lambda f: save(image(1), f / "train/cat/a.gif"),
        "train/cat/a.gif: a stray file; images end in .png",
    ),
    "no image": (
        lambda f: (f / "train/cat/a.png").write_bytes(b"no image"),
        "train/cat/a.png: not a complete PNG, JPEG or WebP image",
    ),
    "cut short": (
        lambda f: (f / "train/cat/train0.png").write_bytes(
            (f / "train/cat/train0.png").read_bytes()[:-40]
        ),
        "train/cat/train0.png: not a complete PNG, JPEG or WebP image",
    ),
    "transparent": (
        lambda f: save(image(1, "RGBA"), f / "train/cat/a.png"),
        "train/cat/a.png: transparent pixels; save it without transparency",
    ),
    "sixteen bits": (
        lambda f: save(Image.new("I;16", (9, 9)), f / "train/cat/a.png"),
        "train/cat/a.png: more than 8 bits a channel",
    ),
    "frames": (
        lambda f: save(
            image(1), f / "train/cat/a.webp", save_all=True, append_images=[image(2)], lossless=True
        ),
        "train/cat/a.webp: 2 frames; save one of them",
    ),
    "newline in a name": (
        lambda f: save(image(1), f / "train/cat/a\n.png"),
        "rename 'a\\n.png'",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_refused_in_one_line_that_names_it(case, parted, tmp_path, capsys):
    info = own(parted, capsys)
    spoil, message = UNFIT[case]
    spoil(parted)
    with pytest.raises(DataError) as caught:
        describe.main([str(parted)])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(parted) in str(caught.value) and capsys.readouterr().out == ""
    out = tmp_path / "data"
    with pytest.raises(DataError):
        fetch(info, out, parted)
    assert not out.exists()


def test_a_colour_image_among_grey_ones_is_refused(parted, capsys):
    with pytest.raises(FormatError, match=r"\.png: a colour image among grey ones; state channels"):
        described(parted, capsys, "--channels", "1")


def test_the_only_image_of_a_class_cannot_be_cut(tmp_path, capsys):
    for name in ("cat/1.png", "dog/1.png", "dog/2.png"):
        save(image(1), tmp_path / "few" / name)
    with pytest.raises(FormatError, match=r"cat/1\.png: the only image of its class"):
        described(tmp_path / "few", capsys)


LINES = {
    "classes": 2,
    "train": 16,
    "test": 4,
    "channels": 3,
    "size": 8,
    "resize": "crop",
    "checksum": f"sha256:{'0' * 64}",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 4}, "mine.yaml: datasets.pets.size: "),
        ({"resize": "squash"}, "mine.yaml: datasets.pets.resize: "),
        ({"checksum": "sha256:0"}, "mine.yaml: datasets.pets.checksum: "),
        ({"mean": [0.5]}, "mine.yaml: datasets.pets: mean and std: give both"),
        ({"mean": [0.5], "std": [0.5]}, "mine.yaml: datasets.pets: mean: a number a channel: 3"),
        ({"classs": 3}, "mine.yaml: datasets.pets.classs: unknown key; did you mean 'classes'?"),
    ],
)
def test_a_mistake_in_the_lines_is_named_by_its_key_alone(changes, message):
    lines = {"datasets": {"pets": LINES | changes}, "sources": {"pets": "here"}}
    with pytest.raises(ConfigError) as caught:
        config(lines)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_data_set_of_ones_own_needs_a_new_name_and_a_folder():
    with pytest.raises(ConfigError, match="datasets: cifar10 is the name of a data set of the cat"):
        config({"datasets": {"cifar10": LINES}, "sources": {"cifar10": "here"}})
    with pytest.raises(ConfigError, match="sources: name the folder of pets, as pets: FOLDER"):
        config({"datasets": {"pets": LINES}})
    classes = {**EXPERIMENT, "scenarios": {"class_removal": {"forget": [2]}}}
    lines = {"datasets": {"pets": LINES}, "sources": {"pets": "here"}}
    with pytest.raises(ConfigError, match=r"class 2 is outside 0\.\.1, the classes of pets"):
        config(lines, experiments=[classes])


def test_what_a_checked_config_says_of_data_comes_back(pets, capsys):
    found = config(described(pets, capsys))
    again = parse(json.loads(json.dumps(found.model_dump())), "config.json")
    assert again.own_datasets == found.own_datasets
    assert (
        "datasets" not in config({}, experiments=[EXPERIMENT | {"dataset": "cifar10"}]).model_dump()
    )
