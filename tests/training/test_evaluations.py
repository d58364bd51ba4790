"""Figures of genlab evaluate and test in the run that they are of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import genlab
from genlab import checkpoints, runs
from genlab.experiments.comparison import Run
from genlab.training import evaluations
from tests.conftest import Here


@pytest.fixture
def run(digits_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run, tmp_path / "runs" / "vae" / "digits" / "one"))


def final(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())


def kept(run: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((run / "evaluations").iterdir())]


def other_weights(run: Path, folder: Path) -> Path:
    """A run of the same name and the same network with other weights."""
    copy = Path(shutil.copytree(run, folder))
    for file in (copy / "checkpoints").iterdir():
        content = checkpoints.read(file)
        content["state_dict"] = {
            key: value * 1.5 if value.is_floating_point() else value
            for key, value in content["state_dict"].items()
        }
        checkpoints.AtomicCheckpointIO().save_checkpoint(content, file)
    return copy


def test_two_judges_of_one_name_have_two_figures(run: Path, here: Here) -> None:
    before, other = final(run), other_weights(run, here.folder / "other")
    for judge in (run, other):
        _, err = here("evaluate", str(run), "--judge", str(judge), "--samples", "50")
        assert f"kept in runs/vae/digits/one/{evaluations.FOLDER}/" in err
    after, (first, second) = final(run), kept(run)
    assert {key: after[key] for key in before} == before
    tags = [evaluations.judge_tag(one["judge"]) for one in (first, second)]
    assert tags[0] != tags[1]
    assert all(tag.startswith("vae_mlp_") for tag in tags)
    for tag, one in zip(tags, (first, second), strict=True):
        assert after[f"evaluate/fid_{tag}"] == one["metrics"]["judge/fid_vae_mlp"]
        assert after[f"evaluate/samples_{tag}"] == 50
        assert one["judge"]["sha256"] in after[f"evaluate/judge_{tag}"]
    assert after[f"evaluate/fid_{tags[0]}"] != after[f"evaluate/fid_{tags[1]}"]
    assert after["evaluate/linear_top1"] == first["metrics"]["test/linear_top1"]
    assert after["evaluate/step"] == first["step"] == 40
    best = runs.checkpoint(run)
    assert first["sha256"] == checkpoints.identify(best)["sha256"]
    assert first["checkpoint"] == "checkpoints/best.ckpt"
    assert first["command"][:2] == ["evaluate", str(run)]
    assert first["versions"]["torch"] == torch.__version__.split("+")[0]
    assert not [key for key in after if "network_" in key]
    assert Run(run).state == "done"
    assert f"evaluate/fid_{tags[0]}" in Run(run).figures


def test_other_figures_stay_out_of_metrics_json(run: Path, here: Here) -> None:
    before = final(run)
    last = str(run / "checkpoints" / "last.ckpt")
    for words, why in (
        ([str(run), "data.limit=100"], "on other data"),
        ([str(run), "trainer.limit_test_batches=1"], "with another trainer.limit_test_batches"),
        ([str(run), "model.free_bits=2"], "with another model.free_bits"),
        ([last], "the run's selected checkpoint is another"),
    ):
        _, err = here("test", *words)
        assert err.rstrip().endswith(why)
    here("validate", str(run))
    assert final(run) == before
    assert [one["kind"] for one in kept(run)] == [*["test"] * 4, "validate"]
    assert kept(run)[0]["others"] == "on other data"
    here("test", str(run), "data.batch_size=7", "trainer.accelerator=cpu")  # the same figures
    assert final(run)["evaluate/iwae_nll"] == pytest.approx(before["test/iwae_nll"], abs=1)


def test_a_run_that_trains_or_cannot_be_written_and_a_loose_file(run: Path, here: Here) -> None:
    before = final(run)
    handle = runs.lock(run)
    _, err = here("test", str(run))
    handle.close()
    assert "metrics.json has them when training has ended, if" in err
    assert final(run) == before
    shutil.rmtree(run / "evaluations")
    (run / "evaluations").write_text("in the way")
    out, err = here("test", str(run))
    assert "these metrics are not kept in runs/vae/digits/one: File exists" in err
    assert "test/iwae_nll" in out
    loose = shutil.copy(run / "checkpoints" / "best.ckpt", here.folder / "x.ckpt")
    _, err = here("test", str(loose))
    assert err == "x.ckpt lies in no run: these metrics are not kept\n"


SMALL = {"track.wandb": "off", "trainer.max_epochs": 1, "track.test_after_fit": False,
         "trainer.limit_train_batches": 2, "trainer.callbacks": []}  # fmt: skip


@pytest.mark.parametrize("mode", ["min", "max"])
def test_more_training_keeps_the_figures_of_a_checkpoint_that_is_still_the_best(
    here: Here, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = genlab.fit("vae/digits", SMALL | {"checkpoint.mode": mode})  # the loss falls
    assert not any(key.startswith("evaluate/") for key in run.metrics)
    genlab.evaluate(run, {"trainer.accelerator": "cpu"}, k=3)
    figure, step = run.metrics["evaluate/knn_top1"], run.metrics["evaluate/step"]
    assert kept(run.path)[0]["command"][3:5] == ["-k", "3"]
    capsys.readouterr()
    genlab.fit(resume=run, settings={"trainer.max_epochs": 2})
    err = capsys.readouterr().err
    if mode == "max":
        assert (run.metrics["evaluate/knn_top1"], run.metrics["evaluate/step"]) == (figure, step)
        assert run.metrics["best/step"] == step < run.metrics["step"]
    else:
        assert not any(key.startswith("evaluate/") for key in run.metrics)
        assert "metrics of genlab evaluate are of step 2, which is no longer selected" in err


def test_a_file_edited_by_hand_ends_nothing(run: Path) -> None:
    folder = run / "evaluations"
    folder.mkdir()
    best = checkpoints.identify(runs.checkpoint(run))["sha256"]
    whole = {"kind": "test", "sha256": best, "step": 4, "metrics": {"test/a": 1}, "judge": None}
    for number, one in enumerate(([], {}, {"sha256": best}, whole | {"metrics": 3}, whole)):
        (folder / f"{number}.json").write_text(json.dumps(one))
    assert evaluations.latest(run) == {"evaluate/a": 1, "evaluate/step": 4}
    assert evaluations.own(final(run) | evaluations.latest(run)) == final(run)


def test_published_weights_need_no_checksum_in_a_name() -> None:
    inception = {"name": "inception", "sha256": evaluations.INCEPTION + "0000"}
    assert evaluations.judge_tag(inception) == "inception"
    assert evaluations.judge_tag(inception | {"sha256": "ab12cd34ef56"}) == "inception_ab12cd"
    assert evaluations.judge_tag({"name": "resnet18_a1_in1k", "file": "timm's"}) == (
        "resnet18_a1_in1k"
    )
