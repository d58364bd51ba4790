"""Settings that a continued run changes are applied, or refused with nothing written."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

import genlab
from genlab import checkpoints, runs
from genlab.errors import RecipeError
from genlab.files import step_of
from genlab.recipes import Recipe
from genlab.training import changes
from genlab.training.changes import UNSET, Change
from tests.conftest import Here, Shell

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")
SHORT = ("track.wandb=off", "data.limit=640", "data.batch_size=32", "track.test_after_fit=false")
RATES = ("model.optimizer.lr=0.01", "model.optimizer.schedule=constant",
         "model.optimizer.warmup_steps=0")  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps, in the middle of an epoch of 20."""
    shell = Shell(tmp_path_factory.mktemp("ended"))
    shell("fit", "vae/digits", *SHORT, *RATES, "trainer.max_steps=12")
    return shell.runs()[0]


@pytest.fixture
def run(ended: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ended, tmp_path / "runs" / "vae" / "digits" / "a"))


def contents(run: Path) -> dict[str, bytes]:
    files = [f for f in run.rglob("*") if f.is_file() and f.name != ".lock"]
    return {str(f.relative_to(run)): f.read_bytes() for f in files}


def group(run: Path) -> dict[str, Any]:
    return dict(
        checkpoints.read(run / "checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"][0]
    )


def rates(run: Path) -> dict[int, float]:
    from genlab.training.tracking.csv_log import CSVLog

    rows = CSVLog(run / "metrics.csv").rows()
    return {int(r["step"]): float(r["train/lr"]) for r in rows if r.get("train/lr")}


def test_a_new_rate_is_the_rate_from_there_on(run: Path, here: Here) -> None:
    words = ("trainer.max_steps=16", "model.optimizer.lr=1e-5", "trainer.log_every_n_steps=2",
             "model.optimizer.weight_decay=0.5", "model.optimizer.betas=[0.5, 0.9]")  # fmt: skip
    _, err = here("fit", "--resume", str(run), *words)
    assert "model.optimizer.lr: 0.01 -> 1e-05 from step 12" in err
    assert "trainer.max_steps: 12 -> 16 from step 12" in err
    after = group(run)
    assert (after["lr"], after["peak_lr"]) == (1e-5, 1e-5)
    assert (after["weight_decay"], after["betas"]) == (0.5, (0.5, 0.9))
    assert after["schedule_step"] == 16
    assert rates(run)[15] == 1e-5
    history = runs.read_json(run / "run.json")["history"]
    assert [start["step"] for start in history] == [0, 12]
    assert history[1]["changes"]["model.optimizer.lr"] == [0.01, 1e-5]
    assert history[0]["command"][1] == "vae/digits"
    assert "lr: 1.0e-05" in (run / "recipe.yaml").read_text()


def test_a_new_rate_outlives_a_kill_before_the_next_checkpoint(
    run: Path, shell: Shell, here: Here
) -> None:
    words = ("trainer.max_steps=16", "model.optimizer.lr=1e-5",
             "trainer.callbacks+=[tests.training.test_changes.KilledOnce]")  # fmt: skip
    place = str(Path(__file__).parents[2])
    shell("fit", "--resume", str(run), *words, code=-9, PYTHONPATH=place)
    assert "lr: 1.0e-05" in (run / "recipe.yaml").read_text()
    assert group(run)["lr"] == 0.01
    _, err = here("fit", "--resume", str(run))
    assert "model.optimizer.lr: 0.01 -> 1e-05 from step 12" in err
    assert group(run)["lr"] == 1e-5
    assert step_of(run / "checkpoints/last.ckpt") == 16


class KilledOnce(L.Callback):
    """Kills its process, once, when the files of a continued run have been written."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        mark = Path(trainer.default_root_dir) / "killed"
        if trainer.global_step == 14 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def edit(run: Path, old: str, new: str) -> None:
    text = (run / "recipe.yaml").read_text()
    assert text.count(old) == 1
    (run / "recipe.yaml").write_text(text.replace(old, new))


def test_a_recipe_edited_by_hand_is_applied_and_told(run: Path, here: Here) -> None:
    edit(run, "lr: 0.01,", "lr: 1.0e-05,")
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=13")
    assert "model.optimizer.lr: 0.01 -> 1e-05 from step 12" in err
    assert group(run)["lr"] == 1e-5
    assert runs.read_json(run / "run.json")["history"][1]["changes"]["model.optimizer.lr"]


@pytest.mark.parametrize("words", [(), ("trainer.max_steps=13",)])
def test_a_recipe_edited_by_hand_is_refused_where_a_run_is_fixed(
    run: Path, here: Here, words: tuple[str, ...]
) -> None:
    edit(run, "seed_everything: 0", "seed_everything: 1")
    before = contents(run)
    _, err = here("fit", "--resume", str(run), *words, code=2)
    assert "seed_everything 0 cannot become 1" in err
    assert (f"{run}/recipe.yaml" in err) == (not words)
    assert contents(run) == before


def test_the_weights_move_as_at_that_rate(run: Path, here: Here) -> None:
    """At a rate of next to nothing they stay, where the old code went on with 0.01."""
    before = checkpoints.read(run / "checkpoints/last.ckpt")["state_dict"]
    here("fit", "--resume", str(run), "trainer.max_steps=14", "model.optimizer.lr=1e-12")
    after = checkpoints.read(run / "checkpoints/last.ckpt")["state_dict"]
    assert max(float((after[k] - before[k]).abs().max()) for k in before) < 1e-9


def test_a_schedule_is_planned_anew_from_the_present_step(run: Path, here: Here) -> None:
    from genlab.optim.schedules import lr_factor

    words = ("trainer.max_steps=20", "model.optimizer.schedule=cosine",
             "trainer.log_every_n_steps=1", "model.optimizer.warmup_steps=4")  # fmt: skip
    here("fit", "--resume", str(run), *words)
    found = rates(run)
    for step in range(12, 20):
        assert found[step] == pytest.approx(0.01 * lr_factor(step, 20, 4, "cosine", 0.0))


@pytest.mark.parametrize("word", ["data.batch_size=64", "trainer.limit_train_batches=10"])
def test_a_schedule_knows_the_steps_of_the_epochs_before(
    shell: Shell, here: Here, word: str
) -> None:
    """20 steps done and 2 epochs of 10 left are 40, in two starts as in one."""
    from genlab.optim.schedules import lr_factor

    words = ("model.optimizer.schedule=cosine", "model.optimizer.warmup_epochs=0.5",
             "model.optimizer.warmup_steps=0", "model.optimizer.lr=0.01")  # fmt: skip
    shell("fit", "vae/digits", *SHORT, *words, "trainer.max_epochs=1",
          "trainer.log_every_n_steps=1")  # fmt: skip
    (run,) = shell.runs()
    here("fit", "--resume", str(run), word, "trainer.max_epochs=2")
    assert rates(run)[29] == pytest.approx(0.01 * lr_factor(29, 30, 10, "cosine", 0.0))
    here("fit", "--resume", str(run), "trainer.max_epochs=3")
    found = rates(run)
    assert max(found) == 39
    for step in range(30, 40):
        assert found[step] == pytest.approx(0.01 * lr_factor(step, 40, 10, "cosine", 0.0))


def test_parameters_that_move_to_another_group_keep_their_moments(run: Path, here: Here) -> None:
    before = checkpoints.read(run / "checkpoints/last.ckpt")["optimizer_states"][0]
    words = ("trainer.max_steps=13", "model.optimizer.lr_scale={encoder: 0.1}")
    here("fit", "--resume", str(run), *words, "model.optimizer.weight_decay=0.1")
    after = checkpoints.read(run / "checkpoints/last.ckpt")["optimizer_states"][0]
    assert len(after["param_groups"]) > len(before["param_groups"])
    assert sorted({g["lr"] for g in after["param_groups"]}) == pytest.approx([0.001, 0.01])
    counts = {float(state["step"]) for state in after["state"].values()}
    assert counts == {13.0}
    shapes = [
        sorted(tuple(s["exp_avg"].shape) for s in o["state"].values()) for o in (before, after)
    ]
    assert shapes[0] == shapes[1]


REFUSED = [
    (("data.split_seed=7", "data.val_size=300"), "validation images were trained on"),
    (("data.limit=320",), "the splits are not the run's"),
    (("data.batch_size=64",), "mid-epoch with batch size"),
    (("seed_everything=1",), "follows from its seed"),
    (("model.latent_dim=3",), "other shapes"),
    (("model.optimizer.name=sgd",), "another optimiser's state"),
    (("model=Autoencoder",), "another method"),
    (("data=MNIST",), "other data"),
    (("track.runs=elsewhere",), "stays in its folder"),
    (("checkpoint.monitor=val/los",), "val/loss"),
]


@pytest.mark.parametrize(("words", "part"), REFUSED, ids=[words[0] for words, _ in REFUSED])
def test_what_cannot_be_changed_is_refused_and_nothing_written(
    run: Path, here: Here, words: tuple[str, ...], part: str
) -> None:
    before = contents(run)
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=25", *words, code=2)
    told = err[err.index("genlab: ") :].strip()
    assert part in told
    assert len(told.splitlines()) <= 3
    assert "Traceback" not in err
    assert contents(run) == before
    here("fit", "--resume", str(run), "trainer.max_steps=13")  # it can still be continued


def test_data_that_changed_on_disk_are_refused(run: Path, here: Here) -> None:
    import numpy as np

    with np.load(run / "splits.npz") as file:
        old = dict(file)
    np.savez_compressed(run / "splits.npz", **old | {"train": old["train"][:-1]})
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=13", code=2)
    assert "the data have changed since the run began" in err
    (run / "splits.npz").write_bytes(b"torn")  # says nothing: it is written anew
    here("fit", "--resume", str(run), "trainer.max_steps=13")
    with np.load(run / "splits.npz") as file:
        assert all(np.array_equal(file[name], old[name]) for name in old)


@pytest.mark.parametrize("word", ["data.split_seed=7", "data.val_size=320"])
@pytest.mark.parametrize("damage", ["torn", "gone", "of an older version"])
def test_damaged_splits_let_no_others_pass(run: Path, here: Here, word: str, damage: str) -> None:
    (run / "splits.npz").write_bytes(b"torn")
    if damage == "gone":
        (run / "splits.npz").unlink()
    elif damage == "of an older version":
        for file in (run / "checkpoints").iterdir():
            content = checkpoints.read(file)
            del content["genlab"]["splits_sha256"]
            torch.save(content, file)
    before = contents(run)
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=13", word, code=2)
    assert "the splits are not the run's" in err
    assert "splits.npz cannot be read" in err
    assert contents(run) == before


def test_other_trained_parameters_are_refused_by_name(shell: Shell, here: Here) -> None:
    shell("fit", "classifier/digits", *SHORT, "trainer.max_steps=3")
    (run,) = shell.runs()
    before = contents(run)
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=4", "model.freeze=all", code=2)
    told = err[err.index("genlab: ") :].strip()
    assert told.startswith("genlab: model.freeze: the checkpoint's optimizers are of other")
    assert len(told.splitlines()) <= 3
    assert contents(run) == before


def test_nothing_left_to_do_leaves_every_byte(run: Path, here: Here) -> None:
    before = contents(run)
    out, _ = here("fit", "--resume", str(run))
    assert "nothing left to do after step 12" in out
    assert contents(run) == before
    _, err = here("fit", "--resume", str(run), "model.optimizer.lr=1", code=2)
    assert "model.optimizer.lr would change nothing" in err
    assert contents(run) == before


def test_the_test_of_an_earlier_end_stays(shell: Shell, here: Here) -> None:
    words = ("track.wandb=off", "data.limit=640", "data.batch_size=32")
    shell("fit", "vae/digits", *words, "trainer.max_steps=4")
    run = shell.runs()[0]
    here("fit", "--resume", str(run), "trainer.max_steps=6")
    from genlab.training.tracking.csv_log import CSVLog

    tests = [row for row in CSVLog(run / "metrics.csv").rows() if row["test/neg_elbo"]]
    assert [row["step"] for row in tests] == ["4", "6"]


def test_a_start_that_fails_leaves_the_run(run: Path, here: Here) -> None:
    """A callback that cannot work with the method fails in the first step."""
    before = contents(run)
    with pytest.raises(RuntimeError, match="no such thing"):
        genlab.fit(
            resume=run,
            settings={
                "trainer.max_steps": 14,
                "trainer.callbacks": [{"class_path": f"{__name__}.Failing"}],
            },
        )
    assert contents(run) == before


class Failing(L.Callback):
    """Fails at the end of the first batch."""

    def on_train_batch_end(self, *_: Any) -> None:
        raise RuntimeError("no such thing")


@pytest.mark.parametrize("kind", ["foreign", "no step", "list"])
def test_an_unreadable_checkpoint_is_refused_in_words(run: Path, here: Here, kind: str) -> None:
    content: Any = {"weights": 1}
    if kind == "no step":
        content = checkpoints.read(run / "checkpoints/last.ckpt")
        del content["global_step"]
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    torch.save([1] if kind == "list" else content, run / "checkpoints/last.ckpt")
    before = contents(run)
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=14", code=2)
    assert "Traceback" not in err
    assert len(err[err.index("genlab: ") :].strip().splitlines()) <= 3
    assert contents(run) == before


def test_the_newest_checkpoint_is_that_of_most_steps(run: Path, here: Here) -> None:
    folder = run / "checkpoints"
    shutil.copy(folder / "last.ckpt", folder / "step-00000012.ckpt")
    here("fit", "--resume", str(run), "trainer.max_steps=15")
    os.utime(folder / "step-00000012.ckpt", (2e9, 2e9))  # as after rsync without -t
    assert step_of(folder / "last.ckpt") == 15
    assert runs.newest(run) == folder / "last.ckpt"
    (folder / "text.ckpt").write_text("no checkpoint")
    assert step_of(folder / "text.ckpt") == -1
    assert runs.newest(run) == folder / "last.ckpt"


def test_metrics_json_says_of_which_step_its_validation_is(run: Path) -> None:
    final = runs.read_json(run / "metrics.json")
    assert final["step"] == 12
    assert "val_step" not in final  # there was none yet


def test_between_names_keys_as_typed() -> None:
    old = Recipe("a", "", {"model": {"class_path": "M", "init_args": {"x": {"lr": 1, "b": 2}}}})
    new = Recipe(
        "a", "", {"model": {"class_path": "N", "init_args": {"x": {"lr": 1.0, "c": None}}}}
    )
    found = changes.between(old, new)
    assert found == [
        Change("model", "M", "N"), Change("model.x.b", 2, UNSET), Change("model.x.c", UNSET, None),
    ]  # fmt: skip
    assert found[1].line(1200) == "model.x.b: 2 -> unset from step 1,200"
    taken = changes.arguments(found[1:], "model", new.config, {})
    assert taken == {"x": ({"lr": 1.0, "b": 2}, {"lr": 1.0, "c": None})}
    assert json.loads(json.dumps([c.values() for c in found])) == [
        ["M", "N"],
        [2, None],
        [None, None],
    ]
    plain = Recipe("a", "", {"data": {"class_path": "D", "init_args": {}}})
    assert changes.between(Recipe("a", "", {}), plain) == [Change("data", UNSET, "D")]
    word = changes.between(old, Recipe("a", "", {"model": {"init_args": {"x": "unset"}}}))
    assert word[-1] == Change("model.x", UNSET, "unset")


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ({"stem": "cifar_pad2"}, {"stem": "cifar"}, "model.encoder_kwargs.stem"),
        ({"act_layer": "gelu"}, None, "model.encoder_kwargs.act_layer"),
        ({}, {"normalize": {"mean": [0]}}, "model.encoder_kwargs.normalize.mean"),
        (None, {"drop_path_rate": 0.1, "drop_rate": 0.2}, ""),
        ({"compile": True, "drop_rate": 0.2}, {"grad_checkpointing": True}, ""),
    ],
)
def test_arguments_of_the_network_are_fixed_unless_they_only_train(
    old: Any, new: Any, refused: str
) -> None:
    sides = [{"model": {"init_args": {"encoder_kwargs": part}}} for part in (old, new)]
    before, now = (Recipe("a", "", side) for side in sides)
    found = changes.between(before, now)
    assert found
    if not refused:
        changes.refuse_fixed(found, "--resume a")
        return
    with pytest.raises(RecipeError, match=rf"{refused} .* cannot become .*another architecture"):
        changes.refuse_fixed(found, "--resume a")


NOTHING: dict[str, Any] = {}
ARGUMENTS = [
    ({}, {"x": 2}, 5),  # of the class's default
    ({"x": None}, {"x": {"lr": 1}}, None),
    ({"x": {"lr": 1}}, {"x": None}, {"lr": 1}),
    ({"x": {"lr": 1, "b": {"c": 1}}}, {"x": {"b": {}}}, {"lr": 1, "b": {"c": 1}}),
    ({"x": {"lr": 1}}, {"x": {"lr": 1, "b": {"c": 1}}}, {"lr": 1, "b": NOTHING}),
    ({"x": "unset"}, {"x": 2}, "unset"),
]


@pytest.mark.parametrize(("old", "new", "former"), ARGUMENTS)
def test_the_former_value_of_an_argument(old: Any, new: Any, former: Any) -> None:
    before, now = (Recipe("a", "", {"model": {"init_args": part}}) for part in (old, new))
    found = changes.arguments(changes.between(before, now), "model", now.config, {"x": 5})
    assert found == {"x": (former, new["x"])}


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ([0, 1, 2], ""),
        ([0, 1, 7], "1 of 3 train images are others"),
        ([2, 1, 0], "the images are in another order"),
        ([0, 1], "they were train 3, test 1 images and are train 2, test 1"),
    ],
)
def test_how_splits_differ_is_told(new: list[int], told: str) -> None:
    old = {"train": np.arange(3), "test": np.array([9])}
    assert changes._apart(old, old | {"train": np.array(new)}) == told
