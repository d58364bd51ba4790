"""FixMatch at the command line: what a run leaves behind, and what is refused before it begins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genlab import checkpoints
from genlab.training.tracking.csv_log import CSVLog
from tests.conftest import Here, Shell

pytestmark = pytest.mark.filterwarnings("ignore")
SHORT = ["data.steps_per_epoch=3", "trainer.max_epochs=2", "track.wandb=off"]
SHORT += ["trainer.log_every_n_steps=1", "trainer.accelerator=cpu"]


def fit(here: Here, recipe: str, *words: str) -> Path:
    """The directory of a new run."""
    before = set(here.runs())
    here("fit", recipe, *SHORT, *words)
    (run,) = set(here.runs()) - before
    return run


def test_a_run_leaves_its_labels_and_its_report(here: Here) -> None:
    """With learnt strengths: their rates are in the checkpoint, the labels serve the twin again."""
    run = fit(here, "fixmatch/digits", "data.strong=ctaugment", "data.labels_seed=7")
    labels = json.loads((run / "labels.json").read_text())
    assert len(labels["indices"]) == labels["labels"] == 40
    assert labels["counts"] == [4] * 10
    assert len(labels["sha256"]) == 64
    figures = json.loads((run / "metrics.json").read_text())
    report = {"val/accuracy", "best/val/accuracy", "val/accuracy_median20", "test/accuracy"}
    watched = {"pseudo_accuracy", "pseudo_accuracy_all", "pseudo_entropy", "pseudo_share_9"}
    assert report | {f"train/{k}" for k in (*watched, "strong_bins")} <= figures.keys()
    assert "val/accuracy_live" in figures
    rows = CSVLog(run / "metrics.csv").rows()
    for key in ("loss", "loss_labeled", "loss_unlabeled", "mask_rate", "agreement"):
        assert sum(bool(row[f"train/{key}"]) for row in rows) == 6
    state = checkpoints.read(run / "checkpoints" / "last.ckpt")["callbacks"]["LearnedAugment"]
    assert 0 < (state["rates"] < 1).sum() < state["rates"].numel()
    (run / "labels.json").write_text("torn")  # written again if the labels are the checkpoint's
    other = ("trainer.max_epochs=3", "data.labels_seed=8")
    _, err = here("fit", "--resume", str(run), *other, code=2)
    assert "the checkpoint was trained with other labels" in err
    here("fit", "--resume", str(run), "trainer.max_epochs=3")
    assert json.loads((run / "labels.json").read_text()) == labels
    later = checkpoints.read(run / "checkpoints" / "last.ckpt")["callbacks"]["LearnedAugment"]
    assert (later["rates"] < state["rates"]).any()
    twin = fit(here, "fixmatch/digits_supervised", f"data.labels={run}")
    assert json.loads((twin / "labels.json").read_text())["indices"] == labels["indices"]


WRONG = {
    "data.labels={per_class: 400}": "400 of class 0 are requested, it has 128 training images",
    "data.labels=1297": "of class 0 are requested, it has 128",
    "data.labels=some.json": "class 7 has none of the 9 labels; each of 10 classes requires",
    "data.labels=other.json": "is of other data: its data is MNIST, here it is Digits",
    "data.labels=gone.json": "no file gone.json",
    "model.threshold=0": "threshold must be in (0, 1], got 0",
    "model.threshold=1.5": "threshold must be in (0, 1], got 1.5",
    "data.batch_size=256": "7 x batch_size 256 = 1792 exceeds the 1297 unlabelled images",
    "data.strong=ctaugmnt": "did you mean ctaugment",
}


@pytest.mark.parametrize("word", WRONG)
def test_wrong_input_ends_in_three_lines_before_anything_is_written(here: Here, word: str) -> None:
    from genlab.data import Digits

    data = Digits(val_size=200, labels=10)
    source, record = data._parts["train"][0] if data.label_record else None, data.label_record
    assert source is not None
    assert record is not None
    label = dict(zip(source.index.tolist(), source.labels.tolist(), strict=True))
    some = [i for i in record["indices"] if label[i] != 7]
    Path("some.json").write_text(json.dumps({"indices": some}))
    Path("other.json").write_text(json.dumps({"indices": [0, 1], "data": "MNIST"}))
    out, err = here("fit", "fixmatch/digits", word, "track.wandb=off", code=2)
    said = (out + err).strip()
    assert WRONG[word] in said
    assert len(said.splitlines()) <= 3
    assert not Shell.runs(here)
