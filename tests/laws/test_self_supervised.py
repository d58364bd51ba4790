"""What must be true of every method that compares two views, beyond the laws of every method."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import lightning as L
import pytest
import torch

from genlab import checkpoints, recipes
from genlab.callbacks import CollapseAlarm
from genlab.data import Digits
from genlab.networks.ema import cosine_to_one
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.conftest import Here
from tests.methods.programs_ssl import METHODS, pairs, same_state, small

TWO_CPUS = ("trainer.devices=2", "trainer.accelerator=cpu")


@pytest.mark.parametrize("name", METHODS)
def test_the_momentum_network_has_no_predictor_and_is_in_the_checkpoint(name: str) -> None:
    keys = small(name).state_dict()
    copies = {key.partition(".")[0] for key in keys if "_ema." in key}
    expected = set() if name in ("simclr", "simsiam") else {"encoder_ema", "projector_ema"}
    assert copies == expected


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("name", ["moco", "moco_v3", "byol"])
def test_the_momentum_network_moves_once_per_optimiser_step(
    name: str, accumulate: int, tmp_path: Path
) -> None:
    """From 0 towards 1 in 10 steps of 0.9: 0.65132; with a cosine from 0.9 to 1 its product."""
    method = small(name, optimizer={"name": "torch.sgd", "lr": 0.0})
    for copy_, value in ((method.projector_ema, 0.0), (method.projector, 1.0)):
        torch.nn.init.constant_(copy_[0].weight, value)
    data = Digits(batch_size=32, limit=160, val_size=100, seed=3, views="simclr")
    run = trainer(tmp_path, Reseed(), accumulate_grad_batches=accumulate, limit_val_batches=0)
    run.fit(method, datamodule=data)
    first = {"moco": None, "moco_v3": 1, "byol": 0}[name]  # moco_v3's are the next step's keys
    steps = [0.9 if first is None else cosine_to_one(0.9, k + first, 10) for k in range(10)]
    expected = 1 - math.prod(steps)
    assert float(method.projector_ema[0].weight[0, 0]) == pytest.approx(expected, abs=1e-6)
    if name == "moco":
        assert expected == pytest.approx(0.6513215599)
        assert int(method.queue.pointer) == 10 * 32 % 50


@pytest.mark.parametrize(("name", "first"), [("moco", None), ("moco_v3", 1), ("byol", 0)])
def test_the_momentum_network_moves_towards_the_weights_after_the_step(
    name: str, first: int | None, tmp_path: Path
) -> None:
    method = small(name, optimizer={"name": "torch.sgd", "lr": 0.5})
    before = [p.clone() for p in method.projector_ema.parameters()]
    start = [p.clone() for p in method.projector.parameters()]
    data = Digits(batch_size=32, limit=160, val_size=100, seed=3, views="simclr")
    trainer(tmp_path, Reseed(), limit_val_batches=0, max_steps=1).fit(method, datamodule=data)
    decay = 0.9 if first is None else cosine_to_one(0.9, first, 1)
    after = list(method.projector.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(start, after, strict=True))
    for old, new, copy_ in zip(before, after, method.projector_ema.parameters(), strict=True):
        torch.testing.assert_close(copy_, decay * old + (1 - decay) * new)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simclr/digits", "model.temperature=0"], "temperature 0.0 must be above 0"),
        (["moco/digits", "model.queue_size=100"], "queue_size 100 is less than the 256 keys"),
        (["moco/digits", "model.bn_splits=5"], "bn_splits 5 does not divide the 128 images"),
        (["byol/digits", "data.batch_size=1"], "a batch needs at least two images per process"),
        (
            ["simsiam/digits", *TWO_CPUS, "trainer.sync_batchnorm=true"],
            "sync_batchnorm requires GPUs",
        ),
    ],
)
def test_the_command_line_says_bad_input_in_two_lines(
    words: list[str], said: str, here: Here
) -> None:
    _, err = here("fit", *words, "track.wandb=off", code=2)
    refusal = err[err.index("genlab: ") :]
    assert said in refusal
    assert len(refusal.splitlines()) <= 3
    assert not here.runs()


def test_no_recipe_selects_by_the_test_set() -> None:
    for name in recipes.shipped():
        monitor = recipes.resolve([name]).config["checkpoint"]["monitor"]
        assert monitor is None or monitor.startswith("val/"), name


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_named(name: str) -> None:
    method = small(name)
    view = torch.rand(8, 1, 8, 8)
    with pytest.raises(ValueError, match=r"set data\.views"):
        method.training_step({"image": view}, 0)
    with pytest.raises(ValueError, match=r"2 views .* gives 3"):
        method.training_step({"views": [view] * 3}, 0)
    with pytest.raises(ValueError, match="two images per process"):
        method.training_step({"views": [view[:1]] * 2}, 0)
    if name not in ("byol", "simsiam"):
        with pytest.raises(ValueError, match="temperature 0 must be above 0"):
            small(name, temperature=0)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_finite_scalars_and_autocast_changes_a_rounding(name: str) -> None:
    method = small(name)
    out = method.training_step(pairs(16)[0], 0)
    assert {"loss", "embedding_std", "positive_similarity", "negative_similarity"} == set(out)
    for value in out.values():
        assert value.shape == ()
        assert value.isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = small(name).training_step(pairs(16)[0], 0)["loss"].detach()
    assert rounded.dtype == torch.float32
    assert float(rounded) == pytest.approx(float(out["loss"].detach()), rel=0.05, abs=0.03)


@pytest.mark.parametrize("name", METHODS)
def test_validation_logs_the_spread_and_learns_nothing(name: str, tmp_path: Path) -> None:
    method = small(name)
    before = copy.deepcopy(method.state_dict())
    run = trainer(tmp_path, CollapseAlarm())
    run.validate(method, datamodule=Digits(val_size=100, views="simclr"), verbose=False)
    assert same_state(before, method.state_dict()) == []
    figures = run.callback_metrics
    assert 0 < figures["val/embedding_std"] < 6**-0.5
    assert 1 <= figures["val/effective_rank"] <= 6


@pytest.mark.parametrize("name", METHODS)
def test_its_plain_description_builds_it_again(name: str) -> None:
    method: L.LightningModule = small(name).eval()
    again = checkpoints.build(copy.deepcopy(checkpoints.spec(method))).eval()
    again.load_state_dict(method.state_dict())
    image = torch.rand(4, 1, 8, 8)
    assert torch.equal(again(image), method(image))
