"""A run from the first word to the last picture, and again from what it left behind."""

from __future__ import annotations

import json
import pickle
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab import checkpoints, recipes, runs
from tests.conftest import Here, Shell


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoints.read(run / "checkpoints" / "last.ckpt")["state_dict"]


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_a_run_leaves_what_the_design_says(digits_run: Path) -> None:
    names = {p.name for p in digits_run.iterdir()}
    assert {
        "recipe.yaml",
        "run.json",
        "metrics.csv",
        "metrics.json",
        "checkpoints",
        "pictures",
        "splits.npz",
    } <= names
    figures = json.loads((digits_run / "metrics.json").read_text())
    assert {"test/neg_elbo", "test/iwae_nll", "val/loss", "best/val/loss", "step"} <= figures.keys()
    assert figures["test/iwae_nll"] < figures["test/neg_elbo"]
    facts = json.loads((digits_run / "run.json").read_text())
    assert facts["recipe"] == "vae/digits"
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]
    with np.load(digits_run / "splits.npz") as splits:
        train, val = splits["train"], splits["val"]
    assert not set(train) & set(val)
    for picture in (digits_run / "pictures").glob("*.png"):
        with Image.open(picture) as image:
            assert min(image.size) > 200


def test_using_a_run(digits_run: Path, here: Here) -> None:
    run = str(digits_run)
    for command in ("sample", "reconstruct", "interpolate"):
        here(command, run, "--out", f"{command}.png")
        with Image.open(here.folder / f"{command}.png") as picture:
            assert np.asarray(picture).std() > 10
    here("embed", run, "--out", "f.npz")
    with np.load(here.folder / "f.npz") as arrays:
        assert arrays["features"].shape[0] == arrays["label"].shape[0]
    out, _ = here("evaluate", run, "--json")
    figures = json.loads(out)
    stored = json.loads((digits_run / "metrics.json").read_text())
    assert figures["test/neg_elbo"] == pytest.approx(stored["test/neg_elbo"], rel=1e-5)
    here("test", run)
    here("validate", run)


def test_a_method_without_a_test_is_evaluated_by_its_features(here: Here) -> None:
    here("fit", "simclr/digits", "trainer.max_steps=2", "track.wandb=off")
    run = str(here.runs()[0])
    out, _ = here("evaluate", run, "--json", "data.limit=100")
    figures = json.loads(out)
    assert figures["test/linear_images"] == 100
    assert figures["test/linear_top1"] > 0.5
    _, error = here("test", run, code=2)
    assert "genlab evaluate" in error


def test_same_seed_same_picture(digits_run: Path, here: Here) -> None:
    for name in ("a", "b"):
        here("sample", str(digits_run), "--out", f"{name}.png", "--seed", "3")
    here("sample", str(digits_run), "--out", "c.png", "--seed", "4")
    a, b, c = ((here.folder / f"{n}.png").read_bytes() for n in "abc")
    assert a == b != c


def test_the_resolved_recipe_reruns_the_run(digits_run: Path, shell: Shell) -> None:
    shell("fit", str(digits_run / "recipe.yaml"))
    again = shell.runs()[0]
    assert again.parent.relative_to(shell.folder / "runs").as_posix() == "vae/digits"
    assert_equal(weights(again), weights(digits_run))


def test_checkpoints_hold_plain_data_and_name_their_class(digits_run: Path) -> None:
    content = checkpoints.read(digits_run)
    assert content["genlab"]["class_path"] == "genlab.methods.vae.VAE"
    assert (
        recipes.from_config(content["genlab"], "x").config["data"]["class_path"].endswith("Digits")
    )
    method = checkpoints.load(digits_run)
    assert type(method).__name__ == "VAE"
    assert not method.training


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code ran",))


def test_bad_checkpoints_are_refused(digits_run: Path, here: Here) -> None:
    good = digits_run / "checkpoints" / "last.ckpt"
    content = checkpoints.read(good)
    folder = here.folder
    (folder / "short.ckpt").write_bytes(good.read_bytes()[:5000])
    (folder / "text.ckpt").write_text("no checkpoint")
    (folder / "old.ckpt").write_bytes(pickle.dumps(Evil()))
    torch.save({"state_dict": {}, "x": Evil()}, folder / "evil.ckpt")
    torch.save({"weights": 1}, folder / "foreign.ckpt")
    outside = dict(
        content, hyper_parameters=content["hyper_parameters"] | {"_class_path": "os.path.join"}
    )
    torch.save(outside, folder / "outside.ckpt")
    torch.save(dict(content, state_dict={}), folder / "empty.ckpt")
    words = {"short": "truncated", "text": "truncated", "old": "truncated", "evil": "code",
             "foreign": "state_dict", "outside": "os.path.join", "empty": "fit"}  # fmt: skip
    for name, word in words.items():
        out, err = here("sample", f"{name}.ckpt", code=2)
        assert word in err, err
        assert len(err.strip().splitlines()) <= 3
        assert "code ran" not in out + err
    assert not list(folder.glob("*.png"))


def test_a_lone_checkpoint_carries_its_recipe(digits_run: Path, here: Here) -> None:
    (here.folder / "moved.ckpt").write_bytes(
        (digits_run / "checkpoints" / "best.ckpt").read_bytes()
    )
    out, _ = here("test", "moved.ckpt", "--json")
    assert "test/neg_elbo" in json.loads(out)


SHORT = (
    "track.wandb=off",
    "track.test_after_fit=false",
    "checkpoint.every_n_steps=3",
    "data.limit=640",
    "data.batch_size=32",
)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_raising_the_number_of_steps_continues_bit_for_bit(shell: Shell, accumulate: int) -> None:
    """20 batches an epoch (5 steps when 4 are accumulated); stops in mid-epoch and at its end."""
    size = f"data.batch_size={32 * accumulate}"
    words = (
        "fit",
        "vae/digits",
        *SHORT,
        size,
        f"trainer.accumulate_grad_batches={accumulate}",
        "trainer.max_epochs=-1",
    )
    shell(*words, "trainer.max_steps=12")
    straight = shell.runs()[0]
    shell(*words, "trainer.max_steps=5")
    run = next(r for r in shell.runs() if r != straight)
    for steps in (7, 10, 12):
        shell("fit", "--resume", str(run), f"trainer.max_steps={steps}")
    assert_equal(weights(run), weights(straight))


def kill_until_done(shell: Shell, words: tuple[str, ...], kills: int, seed: int) -> Path:
    """Start, kill -9, resume, ... ``kills`` times, then let it finish.

    One kill in three comes at any moment, imports included; the others soon after a checkpoint was
    written, so that every resumed run trains before the next one.
    """
    draw = random.Random(seed)
    process = shell.start(*words)
    for _ in range(kills):
        if draw.random() < 1 / 3 and shell.runs():
            time.sleep(draw.uniform(0.5, 6))
        else:
            wait_for_a_checkpoint(shell, process)
            time.sleep(draw.uniform(0, 0.5))
        assert process.poll() is None, "the run ended before it was killed: make it longer"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = shell.start("fit", "--resume", str(shell.runs()[0]))
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, out + err
    return shell.runs()[0]


def wait_for_a_checkpoint(shell: Shell, process: subprocess.Popen[str]) -> None:
    """Until ``last.ckpt`` is newer than it was."""

    def written() -> int:
        files = [r / "checkpoints" / "last.ckpt" for r in shell.runs()]
        return files[0].stat().st_mtime_ns if files and files[0].is_file() else 0

    before = written()
    while written() == before and process.poll() is None:
        time.sleep(0.02)


LONG = (
    "fit",
    "vae/digits",
    "track.wandb=off",
    "checkpoint.every_n_steps=7",
    "model.optimizer.schedule=cosine",
)


@pytest.mark.parametrize(
    ("kills", "epochs"),
    [(1, 40), *(pytest.param(*more, marks=pytest.mark.slow) for more in ((3, 80), (10, 300)))],
)
def test_killed_at_random_moments_the_weights_are_those_of_the_straight_run(
    tmp_path: Path, kills: int, epochs: int
) -> None:

    shells = []
    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
        shells.append(Shell(tmp_path / name))
    words = (*LONG, f"trainer.max_epochs={epochs}")
    shells[0](*words)
    run = kill_until_done(shells[1], words, kills, seed=kills)
    straight = shells[0].runs()[0]
    assert_equal(weights(run), weights(straight))
    best = [
        checkpoints.read(r / "checkpoints" / "best.ckpt")["global_step"] for r in (run, straight)
    ]
    assert best[0] == best[1]
    steps = [row["step"] for row in _rows(run)]
    assert steps == sorted(steps, key=int)
    columns = ("step", "val/loss")
    kept = [
        [tuple(row[c] for c in columns) for row in _rows(r) if row["val/loss"]]
        for r in (run, straight)
    ]
    assert kept[0] == kept[1]


def _rows(run: Path) -> list[dict[str, str]]:
    from genlab.training.tracking.csv_log import CSVLog

    return CSVLog(run / "metrics.csv").rows()


def test_a_second_process_cannot_take_a_run_over(digits_run: Path, here: Here) -> None:
    handle = runs.lock(digits_run)
    try:
        _, err = here("fit", "--resume", str(digits_run), "trainer.max_epochs=3", code=2)
        assert "in use" in err
    finally:
        handle.close()


def test_a_refused_resume_changes_nothing(shell: Shell, here: Here) -> None:
    shell("fit", "vae/digits", *SHORT, "trainer.max_steps=12")
    run = shell.runs()[0]
    before = (run / "recipe.yaml").read_bytes()
    for words, part in (
        (["data.batch_size=64"], "batch size"),
        (["trainer.devices=2", "trainer.accelerator=cpu"], "world"),
        (["data.batch_size=33", "trainer.devices=2", "trainer.accelerator=cpu"], "33"),
    ):
        _, err = here("fit", "--resume", str(run), "trainer.max_steps=20", *words, code=2)
        assert part in err
        assert (run / "recipe.yaml").read_bytes() == before
    figures = (run / "metrics.json").read_bytes()
    out, _ = shell("fit", "--resume", str(run))
    assert "nothing left to do" in out
    assert (run / "metrics.json").read_bytes() == figures
    _, err = here("fit", "--resume", str(run / "checkpoints" / "last.ckpt"), code=2)
    assert "takes a run" in err


def test_a_refusal_in_the_first_epoch_leaves_no_run(shell: Shell) -> None:
    words = ("fit", "vae/digits", "track.wandb=off", "checkpoint.monitor=val/los")
    _, err = shell(*words, code=2)
    assert "val/los" in err
    assert "val/loss" in err
    assert "Traceback" not in err
    assert not shell.runs()


@pytest.mark.ddp
@pytest.mark.parametrize(
    "recipe", [pytest.param("autoencoder/digits", marks=pytest.mark.slow), "vqvae/digits"]
)
def test_two_devices_train_what_one_trains(shell: Shell, recipe: str) -> None:
    """The same command with devices=2: one run directory, the same weights, codebook included."""
    words = ("fit", recipe, "track.wandb=off", "trainer.max_steps=8", "trainer.accelerator=cpu",
             "model.optimizer={name: torch.sgd, lr: 0.01, schedule: constant}")  # fmt: skip
    for devices in (1, 2):
        shell(*words, f"trainer.devices={devices}")
    one, two = (weights(run) for run in shell.runs())
    assert len(shell.runs()) == 2
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5)
