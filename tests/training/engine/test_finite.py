"""A step that is not finite changes nothing, ends training or is skipped, and can be replayed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

import genlab
from genlab import cli, recipes, runs
from genlab.checkpoints import read
from genlab.errors import RunError
from genlab.internals import lightning_loops
from genlab.methods import VAE
from genlab.testing.ranks import Ranks
from genlab.training import building
from genlab.training.building import Lab, build
from genlab.training.endings import EarlyEnd
from genlab.training.engine.failure import NotFiniteError
from genlab.training.engine.finite import FiniteGuard
from genlab.training.engine.first_tensor import FirstTensor
from genlab.training.replaying import replay, reproduced
from tests.training.engine.poison import HERE

QUIET: dict[str, Any] = {"track.wandb": "off", "trainer.max_epochs": 2, "trainer.callbacks": []}
MOCO = {"data__batch_size": 128, "data__views": "simclr", "model__queue_size": 512}
FEW_LABELS = {"data__labels": 40, "data__unlabeled_ratio": 2, "data__batch_size": 16}
POISON = {"data": f"{HERE}.Poisoned"}


def fails(recipe: str, **settings: Any) -> tuple[list[str], Path]:
    """The lines that a training ends with, and its run."""
    given = QUIET | settings
    with pytest.raises(EarlyEnd) as end:
        genlab.fit(recipe, {key.replace("__", "."): value for key, value in given.items()})
    assert end.value.code == 1
    (run,) = Path("runs").glob(f"{recipe}/*")
    return str(end.value).splitlines(), run.absolute()


def assert_replays(run: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((run / "nonfinite" / "step.json").read_text())
    found = replay(run)
    assert reproduced(found, facts) == ""
    assert found.first == facts["first"] != ""
    return facts


def finite(file: Path) -> bool:
    return all(bool(t.isfinite().all()) for t in read(file)["state_dict"].values())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_flow_that_diverges_stops_says_where_and_is_replayed() -> None:
    lines, run = fails("glow/two_moons", model__lr=50)
    assert len(lines) == 3
    assert lines[0].startswith("loss of step 22 is not finite (nan); first: flow.layers.")
    assert "checkpoints/last.ckpt of step 21 is kept; genlab replay" in lines[1]
    assert lines[2].startswith("begin again with a lower learning rate or ")
    assert lines[2].endswith("a resume meets the same step again, and needs track.nonfinite=skip")
    assert runs.read_json(run / "run.json")["failed"] == lines[0]
    assert finite(run / "checkpoints" / "last.ckpt")
    assert not (run / "metrics.json").exists()
    facts = assert_replays(run)
    assert len(facts["ranks"][0]["indices"][0]) == 512


@pytest.mark.parametrize("every", [0, 8], ids=["the step before", "an earlier step"])
def test_the_advice_works(every: int) -> None:
    lines, run = fails("glow/two_moons", model__lr=50, checkpoint__every_n_steps=every or 1000)
    lower = {"model.lr": 1e-3, "trainer.max_steps": 30}
    if every:
        assert "checkpoints/last.ckpt of step 16 is kept" in lines[1]
        assert lines[2].startswith("go on from there with a lower learning rate (--resume) or ")
        genlab.fit(None, lower, resume=run)
    else:
        with pytest.raises(EarlyEnd, match="step 22 is not finite"):
            genlab.fit(None, lower, resume=run)
        genlab.fit("glow/two_moons", QUIET | lower)


TAMPERED: list[Any] = [
    [], {"ranks": []}, {"ranks": 3}, {"ranks": [{}]}, {"rank": 1}, {"rank": "0"}, {"rank": -1},
    {"done": None}, {"done": -1}, {"step": "many"}, {"odd": 1}, {"odd": [1]}, {"first": None},
    {"ranks": [{"bits": "7fc00000", "indices": []}]}, {"ranks": [{"bits": [], "indices": [["a"]]}]},
]  # fmt: skip


def test_a_step_is_replayed_by_as_many_processes_from_a_whole_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, run = fails("vae/digits", **POISON, data__bad=[0])
    file = run / "nonfinite" / "step.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {"ranks": facts["ranks"] * 2}))
    with pytest.raises(RunError, match="requires as many processes as its step had: 2, not 1"):
        cli.run(["replay", str(run)])
    for wrong in TAMPERED:
        file.write_text(json.dumps(facts | wrong if wrong else wrong))
        with pytest.raises(RunError, match="is not the record of a step"):
            cli.run(["replay", str(run)])
    file.write_text(file.read_text()[:-3])
    with pytest.raises(RunError, match="is not the record of a step"):
        cli.run(["replay", str(run)])


def test_the_command_names_the_first_tensor_again(capsys: pytest.CaptureFixture[str]) -> None:
    _, run = fails("vae/digits", **POISON, data__bad=[0], trainer__accumulate_grad_batches=2)
    capsys.readouterr()
    assert cli.run(["replay", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["step 1: loss not finite (nan)", "first: batch"]
    assert said[2].startswith("loss: nan (0x7fc00000), ")
    facts = json.loads((run / "nonfinite" / "step.json").read_text())
    facts["ranks"][0]["indices"][1][0] += 1
    (run / "nonfinite" / "step.json").write_text(json.dumps(facts))
    assert cli.run(["replay", str(run)]) == 1
    assert "the data have changed" in capsys.readouterr().out
    other = genlab.fit("vae/digits", QUIET | {"trainer.max_steps": 1})
    with pytest.raises(RunError, match="no step to replay"):
        cli.run(["replay", str(other.path)])


def test_a_step_that_a_device_has_masked_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "FiniteGuard", partial(FiniteGuard, late=True))
    lines, run = fails("vae/digits", **POISON, data__bad=[7])
    assert lines[0] == "loss of step 8 is not finite (nan); first: batch"
    assert "checkpoints/last.ckpt of step 7 is kept" in lines[1]
    assert assert_replays(run)["at"]["batch"] == 7


def test_a_run_goes_on_from_the_step_before() -> None:
    settings = {"trainer__max_steps": 14, "model__optimizer__schedule": "constant"}
    _, run = fails("vae/digits", **POISON, data__bad=[7], **settings)
    genlab.fit(None, {"data.bad": []}, resume=run)
    straight = genlab.fit("vae/digits", QUIET | {"trainer.max_steps": 14, **POISON})
    ours, theirs = (read(Path(r) / "checkpoints/last.ckpt") for r in (run, straight.path))
    assert ours["global_step"] == theirs["global_step"] == 14
    for key, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][key], value), key


@pytest.mark.parametrize(
    ("recipe", "settings", "step", "images"),
    [
        ("vae/digits", {"data__bad": [3], "trainer__accumulate_grad_batches": 4}, 1, 4),
        ("wgan_gp/digits", {"data__bad": [6]}, 4, 1),
        ("classifier/digits", {"data__bad": [2], "trainer__precision": "bf16-mixed"}, 3, 1),
    ],
    ids=["accumulation", "critic", "bf16"],
)
def test_a_poisoned_batch_is_named(
    recipe: str, settings: dict[str, Any], step: int, images: int
) -> None:
    lines, run = fails(recipe, **POISON, **settings)
    assert f"step {step} is not finite" in lines[0]
    assert "; first: batch" in lines[0]
    assert len(assert_replays(run)["ranks"][0]["indices"]) == images
    assert finite(run / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(
    ("recipe", "words", "step"),
    [
        ("simclr/digits", ["data.views=simclr", "data.bad=[2]"], 3),
        ("vae/digits", ["data.bad=[2]", "trainer.accumulate_grad_batches=2"], 2),
        ("wgan_gp/digits", ["data.bad=[3]", "model.n_critic=2"], 2),
    ],
    ids=["gathered", "accumulated", "critic"],
)
def test_two_ranks_end_together_where_one_sees_it(
    recipe: str, words: list[str], step: int, ranks: Ranks, tmp_path: Path
) -> None:
    program = "tests.training.engine.programs_finite:ends"
    first, second = ranks.run(program, 2, str(tmp_path), recipe, "data.rank=1", *words)
    assert first["lines"] == second["lines"]
    assert first["lines"][0].startswith(f"loss of step {step} is not finite (nan) on rank 1; first")
    assert first["lines"][0].endswith("batch")
    assert first["code"] == second["code"] == 1
    assert first["fine"]
    assert first["step"] == step - 1
    assert first["facts"] == second["facts"]
    assert first["first"] == second["first"] == "batch"
    assert first["differs"] == ""


SHUT = "tests.training.engine.shut_losses"
UNUSED = "trainer.strategy=ddp_find_unused_parameters_true"


@pytest.mark.parametrize(
    "words",
    [
        [f"model={SHUT}.Plain"],
        [f"model={SHUT}.Plain", "trainer.accumulate_grad_batches=2"],
        [f"model={SHUT}.Pair", UNUSED],
        [f"model={SHUT}.Pair", UNUSED, "model.every=2", "model.both=false"],
        [f"model={SHUT}.Pair", UNUSED, "model.every=2"],
    ],
    ids=["automatic", "accumulated", "both gradients first", "own accumulation", "one of two"],
)
def test_two_ranks_agree_where_no_gradient_shows_it(
    words: list[str], ranks: Ranks, tmp_path: Path
) -> None:
    """The square of 2e19 overflows, its share of the gradient does not: there is none."""
    words = ["data.rank=1", "data.value=2e19", "data.bad=[2]", *words]
    program = "tests.training.engine.programs_finite"
    (tmp_path / "ends").mkdir()
    first, second = ranks.run(f"{program}:ends", 2, str(tmp_path / "ends"), RECIPE, *words)
    assert first == second
    assert (first["code"], len(first["lines"])) == (1, 3)
    assert f"is not finite (inf) on rank 1; first: {first['first']}" in first["lines"][0]
    assert first["first"] in ("loss", "Plain: output")
    assert (first["fine"], first["differs"]) == (True, "")
    (tmp_path / "skips").mkdir()
    first, second = ranks.run(f"{program}:skips", 2, str(tmp_path / "skips"), RECIPE, *words)
    assert first == second
    assert first["skipped"] == 1
    one, other = ranks.run(f"{program}:masked", 2, str(tmp_path / "masked"), RECIPE, *words)
    assert one["weights"] == other["weights"]
    assert one["failure"] == other["failure"]
    assert "is not finite (inf) on rank 1" in one["failure"]


RECIPE = "classifier/digits"


def lab(recipe: str, folder: str, **settings: Any) -> Lab:
    words = {"trainer.max_epochs": 1, "trainer.callbacks": "[]", "data": f"{HERE}.Poisoned"}
    words |= {"trainer.log_every_n_steps": 5, "trainer.limit_val_batches": 0}
    words |= {key.replace("__", "."): value for key, value in settings.items()}
    resolved = recipes.resolve([recipe], [f"{key}={value}" for key, value in words.items()])
    return build(resolved, Path(folder))


def tensors(lab: Lab) -> dict[str, Any]:
    """All that a training changes, with the optimisers' states and the averages of callbacks."""
    checkpoint = read(Path(lab.trainer.default_root_dir) / "checkpoints" / "last.ckpt")
    wanted = ("state_dict", "optimizer_states", "global_step", "live_weights", "critic_steps")
    return {key: checkpoint[key] for key in wanted if key in checkpoint}


EMA = "[{class_path: EMAWeights, init_args: {decay: 0.9}}]"


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("classifier/digits", {"trainer__callbacks": EMA, "model__optimizer__schedule": "cosine"}),
        ("moco/digits", MOCO),
        ("byol/digits", {"trainer__accumulate_grad_batches": 2, "data__views": "simclr"}),
        ("wgan_gp/digits", {"model__n_critic": 2}),
        ("fixmatch/digits", {"trainer__limit_train_batches": 8, **FEW_LABELS}),
    ],
)
def test_skipped_updates_are_as_if_they_had_never_been(
    recipe: str, settings: dict[str, Any]
) -> None:
    """Against the same training without these windows, by a loop that passes over them itself."""
    accumulated = settings.get("trainer__accumulate_grad_batches", 1)
    skipping = lab(recipe, "skip", **settings, data__bad=[1, 4, 5], track__nonfinite="skip")
    skipping.trainer.fit(skipping.model, datamodule=skipping.data)
    without = lab(recipe, "without", **settings, data__bad=[1, 4, 5])
    windows = {place // accumulated for place in (1, 4, 5)}

    def passing(run: Any, batch: Any) -> Any:
        if lightning_loops.batches_of_epoch(without.trainer) - 1 in {
            w * accumulated + i for w in windows for i in range(accumulated)
        }:
            return {}
        return run()

    guard_of(without).setup(without.trainer, without.model, "fit")  # what follows is outside
    lightning_loops.around_steps(without.trainer, passing)
    without.trainer.fit(without.model, datamodule=without.data)
    assert guard_of(skipping).skipped == len(windows)
    ours, theirs = tensors(skipping), tensors(without)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    pseudo = [
        {k: v for k, v in one.trainer.callback_metrics.items() if "pseudo" in k}
        for one in (skipping, without)
    ]
    torch.testing.assert_close(*pseudo, rtol=0, atol=0, equal_nan=True)
    assert bool(pseudo[0]) == recipe.startswith("fixmatch")


def guard_of(lab: Lab) -> FiniteGuard:
    found = [c for c in lab.trainer.callbacks if isinstance(c, FiniteGuard)]  # type: ignore[attr-defined]
    return found[0]


def test_skipped_steps_are_logged_and_end_training_when_too_many() -> None:
    words = {"track.nonfinite": "skip", "track.nonfinite_limit": 2, "data": f"{HERE}.Poisoned"}
    run = genlab.fit("vae/digits", QUIET | words | {"data.bad": [2, 5], "trainer.max_epochs": 1})
    assert "train/skipped_steps" in (run.path / "metrics.csv").read_text().splitlines()[0]
    with pytest.raises(EarlyEnd, match="step 3 is not finite") as end:
        genlab.fit("vae/digits", QUIET | words | {"data.bad": [2, 3, 4]})
    assert "more than 2 steps in a row: the weights have probably diverged" in str(end.value)


class Spiking(VAE):
    """A VAE of which one loss is very large."""

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        outputs = super().training_step(batch, batch_idx)
        return outputs | {"loss": outputs["loss"] * (1e30 if batch_idx == 3 else 1)}


@pytest.mark.parametrize("clip", [{}, {"trainer__gradient_clip_val": 1.0}], ids=["", "clipped"])
def test_a_spike_that_stays_finite_changes_nothing(clip: dict[str, Any]) -> None:
    found = []
    for name in ("guarded", "plain"):
        made = lab("vae/digits", name, model=f"{__name__}.Spiking", **clip)
        callbacks: list[Any] = made.trainer.callbacks  # type: ignore[attr-defined]
        if name == "plain":
            callbacks.remove(guard_of(made))
        made.trainer.fit(made.model, datamodule=made.data)
        found.append(tensors(made))
    torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


def test_a_device_masks_all_updates_until_the_host_looks() -> None:
    made = lab("moco/digits", "late", data__bad=[2], **MOCO)
    guard = guard_of(made)
    guard.late = True
    kept: list[dict[str, Any]] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer: Any, method: Any, *_: Any) -> None:
            kept.append({k: v.clone() for k, v in method.state_dict().items()})

    made.trainer.callbacks.insert(0, Watch())  # type: ignore[attr-defined]
    with pytest.raises(NotFiniteError, match="loss of step 3 is not finite") as error:
        made.trainer.fit(made.model, datamodule=made.data)
    assert len(kept) == 5  # log_every_n_steps
    torch.testing.assert_close(kept[4], kept[1], rtol=0, atol=0)
    assert any(not torch.equal(kept[1][k], kept[0][k]) for k in kept[0])
    assert error.value.failure.at is not None
    assert error.value.failure.at.batch == 2
    before = read(Path("late/nonfinite/before.ckpt"))
    torch.testing.assert_close(dict(before["state_dict"]), kept[1], rtol=0, atol=0)
    assert (before["global_step"], before["epoch"]) == (2, 0)


@pytest.mark.parametrize(
    ("recipe", "bad", "settings"),
    [
        ("classifier/digits", 0, {}),
        ("wgan_gp/digits", 2, {"model__n_critic": 5}),
        ("wgan_gp/digits", 4, {"model__n_critic": 5}),
    ],
    ids=["first step", "before another optimiser's first", "in the same batch"],
)
def test_moments_that_a_masked_step_made_are_not_kept(
    recipe: str, bad: int, settings: dict[str, Any]
) -> None:
    """The generator's optimiser steps at the fifth batch for the first time."""
    kept = {}
    for late in (False, True):
        words = settings | {"data__bad": [bad], "trainer__log_every_n_steps": 50}
        made = lab(recipe, f"late={late}", **words)
        guard_of(made).late = late
        with pytest.raises(NotFiniteError, match="loss of step 1 is not finite") as error:
            made.trainer.fit(made.model, datamodule=made.data)
        assert error.value.failure.at is not None
        assert error.value.failure.at.batch == bad
        for file in ("nonfinite/before.ckpt", "checkpoints/last.ckpt"):
            found = read(Path(f"late={late}") / file)
            kept[late, file] = found["state_dict"], found["optimizer_states"], found["global_step"]
    for file in ("nonfinite/before.ckpt", "checkpoints/last.ckpt"):
        torch.testing.assert_close(kept[True, file], kept[False, file], rtol=0, atol=0)


def test_weights_that_overflow_are_never_written() -> None:
    made = lab("vae/digits", "x", checkpoint__every_n_steps=1)

    class Overflow(L.Callback):
        @torch.no_grad()
        def on_train_batch_end(self, trainer: Any, method: Any, *_: Any) -> None:
            if trainer.global_step == 4:
                next(method.parameters()).fill_(torch.inf)

    made.trainer.callbacks.insert(0, Overflow())  # type: ignore[attr-defined]
    with pytest.raises(NotFiniteError, match="weights after step 4 are not finite"):
        made.trainer.fit(made.model, datamodule=made.data)
    last = read(Path("x/checkpoints/last.ckpt"))
    assert last["global_step"] == 3
    facts = json.loads(Path("x/nonfinite/step.json").read_text())
    name = next(name for name, _ in made.model.named_parameters())
    assert facts["first"] == f"{name}: weights"
    with FirstTensor(made.model) as watch:
        assert watch.name == facts["first"]
    with FirstTensor(made.model, odd=[name]) as watch:
        assert watch.name == ""
    assert finite(Path("x/checkpoints/last.ckpt"))


def test_steps_that_a_gradient_scaler_skips_are_no_failures_until_they_are_many() -> None:
    for limit, ends in ((50, False), (2, True)):
        words = {"track__nonfinite_limit": limit, "trainer__limit_train_batches": 6}
        made = lab("classifier/digits", f"s{limit}", data__bad=[2, 3], **words)
        plugin = made.trainer.precision_plugin
        from lightning.pytorch.plugins.precision import MixedPrecision

        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        made.trainer.strategy._precision_plugin = MixedPrecision("16-mixed", "cpu", scaler)
        assert plugin is not made.trainer.precision_plugin
        if ends:
            with pytest.raises(NotFiniteError, match="loss of step 3"):
                made.trainer.fit(made.model, datamodule=made.data)
        else:
            made.trainer.fit(made.model, datamodule=made.data)
            assert scaler.get_scale() == 2.0
