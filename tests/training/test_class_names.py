"""Classes keep their names: a run measured on other data gives the right figure, or refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

import genlab
from genlab import checkpoints, data
from genlab.checkpoints import AtomicCheckpointIO
from genlab.errors import InputError
from genlab.training import class_names
from tests.conftest import Here

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")  # of the digits 0 to 5


def pictures(folder: Path, digits: Mapping[str, int], count: int) -> Path:
    """A folder of pictures of some digits, ``count`` each, in sub-folders of these names."""
    every = load_digits()
    for name, digit in digits.items():
        place = folder / name
        place.mkdir(parents=True)
        rows = np.flatnonzero(every.target == digit)[:count]
        for row in rows:
            grey = (every.images[row] * (255 / 16)).round().astype(np.uint8)
            Image.fromarray(grey).save(place / f"{row:04d}.png")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pictures: six classes; two of them; two in another order; an unknown one."""
    home = tmp_path_factory.mktemp("names")
    six = {name: digit for digit, name in enumerate(NAMES)}
    pictures(home / "six", six, 80)
    pictures(home / "two", {"dog": 3, "fox": 5}, 150)
    pictures(home / "unknown", {"dog": 3, "foks": 5}, 20)
    return home


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A classifier of the six."""
    settings = {
        "data": "ImageFolder", "data.root": str(home / "six"), "data.image_size": 8,
        "data.channels": 1, "data.batch_size": 32, "trainer.max_epochs": 8,
        "track.wandb": "off", "track.runs": str(home / "runs"),
    }  # fmt: skip
    return genlab.fit("classifier/digits", settings).path


def test_a_run_holds_the_names_of_its_classes(run: Path, here: Here) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["data"]["init_args"]["classes"] == list(NAMES)
    assert json.loads((run / "run.json").read_text())["classes"] == list(NAMES)
    stamp = checkpoints.read(run)["genlab"]
    assert (stamp["classes"], stamp["num_classes"]) == (list(NAMES), 6)
    table = (run / "per_class.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == list(NAMES)
    here("export", str(run), "--out", "e", "--format", "torch")
    assert json.loads((here.folder / "e" / "config.json").read_text())["label_names"] == list(NAMES)
    assert "6: ant, bee, cat" in (here.folder / "e" / "README.md").read_text()


def test_a_subset_of_the_classes_is_measured_by_name(run: Path, home: Path, here: Here) -> None:
    words = (str(run), f"data.root={home / 'two'}", "data.test_size=0.9")
    out, err = here("test", *words, "--json")
    assert f"{home / 'two'}: classes 'dog', 'fox' by name, 2 of 6" in err
    assert json.loads(out)["test/accuracy"] > 0.9
    here("predict", *words, "--split", "test", "--out", "p.npz")
    found = np.load("p.npz")
    assert list(found["classes"]) == list(NAMES)
    assert found["probabilities"].shape[1] == 6
    assert set(found["label"]) == {NAMES.index("dog"), NAMES.index("fox")}
    right = found["prediction"] == found["label"]
    assert json.loads(out)["test/accuracy"] == pytest.approx(right.mean())
    assert list(found["predicted"]) == [NAMES[k] for k in found["prediction"]]
    out, _ = here("validate", *words, "--json")
    assert json.loads(out)["val/accuracy"] > 0.9
    out, _ = here("evaluate", *words, "--json")
    figures = json.loads(out)
    assert figures["test/accuracy"] == pytest.approx(right.mean())
    assert figures["test/per_class"]["class"] == list(NAMES)
    seen = dict(zip(NAMES, figures["test/per_class"]["images"], strict=True))
    assert {name for name, count in seen.items() if count} == {"dog", "fox"}
    assert figures["test/knn_top1"] > 0.9


def test_figures_of_other_data_leave_those_of_the_run(run: Path, home: Path, here: Here) -> None:
    files = [run / "per_class.csv", run / "pictures" / "confusion.png", run / "metrics.json"]
    before = [file.read_bytes() for file in files]
    words = (f"data.root={home / 'two'}", "data.test_size=0.9")
    for classes in ((), ("data.classes=null", "model.num_classes=6")):
        _, err = here("test", str(run), *words, *classes)
        (told,) = [line for line in err.splitlines() if "metrics by class are in" in line]
        folder = Path(told.rpartition(" in ")[2])
        assert folder.parent.samefile(run / "other_data")
        assert (folder / "pictures" / "confusion.png").is_file()
    assert [file.read_bytes() for file in files] == before
    rows = [line.split(",")[:2] for line in (folder / "per_class.csv").read_text().splitlines()]
    assert rows[:4] == [["class", "predicted"], ["dog", "ant"], ["fox", "bee"], ["2", "cat"]]
    assert len(list((run / "other_data").iterdir())) == 2
    _, err = here("test", str(run), "data.eval_batch_size=50")
    assert "by class are in" not in err


def test_all_images_of_another_folder_are_tested_and_the_runs_own_split_where_it_has_moved(
    run: Path, home: Path, here: Here
) -> None:
    two, moved = home / "two", here.folder / "moved"
    shutil.copytree(home / "six", moved)
    usual = json.loads(here("test", str(run), "--json")[0])["test/accuracy"]
    for place, said in (two, "all 300 images"), (moved, "the test split, 48 of 480 images"):
        out, err = here("test", str(run), f"data.root={place}", "--json")
        assert f"measured: {said} of {place}\n" in err
        assert place is two or json.loads(out)["test/accuracy"] == usual
    shutil.copy(run / "checkpoints" / "last.ckpt", "alone.ckpt")
    assert "48 of 480" in here("test", "alone.ckpt", f"data.root={moved}")[1]
    words = f"data.root={two}", "data.test_size=30"
    assert "the test split, 30 of 300" in here("test", str(run), *words)[1]
    assert "the val split, 27 of 300" in here("validate", str(run), f"data.root={two}")[1]


def test_another_order_of_the_classes_is_measured_by_name(run: Path, here: Here) -> None:
    content = checkpoints.read(run)
    order = [4, 2, 0, 5, 1, 3]
    for name in ("head.weight", "head.bias"):
        content["state_dict"][name] = content["state_dict"][name][order]
    content["genlab"]["classes"] = [NAMES[k] for k in order]
    AtomicCheckpointIO().save_checkpoint(content, here.folder / "other.ckpt")
    out, err = here("test", "other.ckpt", "--json")
    assert "by name, 6 of 6" in err
    usual = json.loads(here("test", str(run), "--json")[0])["test/accuracy"]
    assert json.loads(out)["test/accuracy"] == usual > 0.9


def test_shards_keep_the_names(run: Path, home: Path, here: Here) -> None:
    here("pack", str(home / "two"), "shards")
    out, err = here("test", str(run), "data.root=shards", "data.test_size=0.9", "--json")
    assert "shards: classes 'dog', 'fox' by name, 2 of 6" in err
    assert json.loads(out)["test/accuracy"] > 0.9


def test_a_continued_run_keeps_the_numbers_of_its_classes(run: Path, here: Here) -> None:
    before = (run / "recipe.yaml").read_bytes()
    words = f"data.classes=[{', '.join(reversed(NAMES))}]"
    _, err = here("fit", "--resume", str(run), words, "trainer.max_epochs=9", code=2)
    assert "data.classes" in err
    assert "the run has learnt the numbers of its classes" in err
    assert (run / "recipe.yaml").read_bytes() == before


def test_images_are_drawn_of_a_class_by_its_name(home: Path, here: Here) -> None:
    settings = {
        "data": "ImageFolder", "data.root": str(home / "six"), "data.image_size": 8,
        "data.channels": 1, "data.batch_size": 32, "trainer.max_steps": 2, "track.wandb": "off",
    }  # fmt: skip
    run = str(genlab.fit("cvae/digits", settings).path)
    for label in ("dog", "3"):
        here("sample", run, "-n", "4", "--label", label, "--out", f"{label}.png")
    assert (here.folder / "dog.png").read_bytes() == (here.folder / "3.png").read_bytes()
    _, err = here("sample", run, "--label", "dgo", code=2)
    assert "did you mean dog?" in err


def test_classes_that_the_run_does_not_know_are_refused(run: Path, home: Path, here: Here) -> None:
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    for command in ("test", "validate", "evaluate", "embed"):
        _, err = here(command, str(run), f"data.root={home / 'unknown'}", code=2)
        assert "'foks'" in err, err
        assert "did you mean fox?" in err, err
        assert len(err.strip().splitlines()) <= 3, err
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


def test_predictions_are_made_of_folders_of_any_name(run: Path, home: Path, here: Here) -> None:
    said, err = here("predict", str(run), f"data.root={home / 'unknown'}", "--out", "p.npz")
    assert (
        f"{home / 'unknown'}: class 'dog' by name, 1 of 6; label -1 for unknown class 'foks'"
        in (said + err)
    )
    with np.load(here.folder / "p.npz") as found:
        assert sorted(found["label"]) == [-1] * 20 + [NAMES.index("dog")] * 20
        right = found["prediction"] == np.where(found["label"] < 0, 5, 3)
        assert right.mean() > 0.7
    typed = f"data.classes=[{','.join(NAMES)}]"
    _, err = here("predict", str(run), f"data.root={home / 'unknown'}", typed, code=2)
    assert "unknown class 'foks'; did you mean fox?" in err


def test_the_recipe_of_a_run_refuses_a_new_class(run: Path, home: Path, here: Here) -> None:
    words = ("fit", str(run / "recipe.yaml"), f"data.root={home / 'unknown'}")
    _, err = here(*words, code=2)
    assert "'foks'" in err
    assert "data.classes=null" in err
    assert not (here.folder / "runs").exists()


def older(run: Path, file: Path, **stamp: Any) -> str:
    """The run's checkpoint as an older genlab wrote it: it names no classes."""
    content = checkpoints.read(run)
    for name in ("classes", "num_classes"):
        del content["genlab"][name]
    del content["genlab"]["recipe"]["data"]["init_args"]["classes"]
    content["genlab"] |= stamp
    AtomicCheckpointIO().save_checkpoint(content, file)
    return str(file)


def test_without_names_numbers_of_classes_must_agree(run: Path, home: Path, here: Here) -> None:
    root = f"data.root={home / 'two'}"
    old = older(run, here.folder / "old.ckpt")
    _, err = here("test", old)
    assert "names" not in err
    _, err = here("test", old, root)
    assert "2 classes, old.ckpt knows 6 and not their names" in err
    nothing: list[str] | None
    for nothing in ([], None):
        unnamed = older(run, here.folder / "unnamed.ckpt", classes=nothing, num_classes=6)
        here("test", unnamed)
        _, err = here("test", unnamed, root, code=2)
        assert "2 classes, unnamed.ckpt knows 6" in err
    _, err = here("test", str(run), root, "data.classes=null")
    assert "classes are numbered as asked, not by those of best.ckpt" in err
    here("test", unnamed, root, f"data.classes=[{', '.join(NAMES)}]")


def test_features_may_be_measured_on_any_classes(home: Path, here: Here) -> None:
    settings = {
        "data": "ImageFolder", "data.root": str(home / "six"), "data.image_size": 8,
        "data.channels": 1, "data.batch_size": 32, "trainer.max_steps": 2, "track.wandb": "off",
    }  # fmt: skip
    run = genlab.fit("vae/digits", settings)
    assert json.loads((run.path / "run.json").read_text())["classes"] == list(NAMES)
    out, err = here("evaluate", str(run.path), f"data.root={home / 'unknown'}", "--json")
    assert "test/knn_top1" in json.loads(out)
    assert "by name" not in err


def test_the_classes_of_a_density_have_a_number_and_no_names(here: Here) -> None:
    run = genlab.fit("realnvp/two_moons", {"trainer.max_steps": 2, "track.wandb": "off"})
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["classes"], facts["num_classes"]) == (None, 2)
    assert checkpoints.read(run.path)["genlab"]["classes"] is None


def test_data_that_cannot_be_numbered_must_have_as_many_classes() -> None:
    class Plain:
        num_classes = 3

    known = {"classes": list(NAMES), "num_classes": 6}
    with pytest.raises(InputError, match=r"Plain has 3 classes, x\.ckpt knows 6"):
        class_names.compare(Plain(), known, "x.ckpt")
    class_names.compare(Plain(), known | {"num_classes": 3}, "x.ckpt")
    class_names.compare(Plain(), {}, "x.ckpt")


@pytest.mark.parametrize("kind", ["Digits", "MNIST", "FashionMNIST", "CIFAR10", "CIFAR100",
                                  "SVHN", "STL10"])  # fmt: skip
def test_known_data_sets_name_their_classes(kind: str) -> None:
    found = getattr(data, kind)(root="nowhere")
    assert len(set(found.classes)) == found.num_classes
    assert all(isinstance(name, str) for name in found.classes)


def test_labels_follow_the_names_and_splits_do_not() -> None:
    usual, other = data.Digits(), data.Digits(classes=list("9876543210x"))
    for one in (usual, other):
        one.setup()
    assert other.num_classes == 11
    assert list(other.classes) == list("9876543210x")
    for split in ("train", "val", "test"):
        assert (usual.splits()[split] == other.splits()[split]).all()
        labels = [torch.cat([b["label"] for b in one.bank_dataloader(split)])
                  for one in (usual, other)]  # fmt: skip
        assert torch.equal(9 - labels[0], labels[1])
    assert other.class_counts == [*reversed(usual.class_counts), 0]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (list("012345678"), "unknown class '9'"),
        ([], "names none"),
        (["a", "a"], "names 'a' twice"),
    ],
)
def test_wrong_names_are_refused(classes: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        data.Digits(classes=classes).setup()


def test_names_for_data_without_any() -> None:
    moons = data.Toys("two_moons", size=10, held_out=10, classes=["upper", "lower"])
    moons.setup()
    assert list(moons.classes) == ["upper", "lower"]
    with pytest.raises(ValueError, match="3 names, Toys has 2"):
        data.Toys("two_moons", size=10, held_out=10, classes=list("abc")).setup()
