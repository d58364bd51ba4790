"""The alarm rings when embeddings become alike, once, and for no healthy run."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab import recipes
from genlab.callbacks import CollapseAlarm
from genlab.callbacks.collapse_alarm import BEGUN, OVER
from genlab.methods.barlow_twins import BarlowTwins
from genlab.methods.lejepa import LeJEPA
from genlab.methods.moco_v3 import MoCoV3
from genlab.methods.nnclr import NNCLR
from genlab.methods.simclr import SimCLR
from genlab.methods.supcon import SupCon
from genlab.methods.vicreg import VICReg
from genlab.training.building import build
from tests.methods.programs_ssl import CNN, pairs

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


def said(
    alarm: CollapseAlarm, capture: Any, step: int, std: float, rank: float, *known: Any
) -> str:
    """What it prints of embeddings of 10,000 images in 64 dimensions."""
    trainer: Any = SimpleNamespace(global_step=step, is_global_zero=True)
    alarm._judge(trainer, std, rank, 64, 10_000, *known)
    return str(capture.readouterr().err)


def test_one_line_when_it_begins_and_one_when_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alarm = CollapseAlarm()
    assert said(alarm, capsys, 10, 0.01, 2.0) == ""  # not trained yet
    assert said(alarm, capsys, 100, 0.12, 40.0) == ""
    begun = said(alarm, capsys, 200, 0.12, 17.0)
    assert BEGUN in begun
    assert "step 200" in begun
    assert "effective rank 17.0 (at its highest 40.0, D = 64)" in begun
    assert "standard deviation 0.120 (evenly spread 0.125)" in begun
    assert "predictor" in begun
    assert said(alarm, capsys, 300, 0.01, 1.0) == ""  # known
    assert said(alarm, capsys, 400, 0.12, 19.0) == ""  # just above the threshold
    assert OVER in said(alarm, capsys, 500, 0.12, 30.0)
    assert BEGUN in said(alarm, capsys, 600, 0.05, 30.0)  # by the standard deviation alone


def test_few_directions_from_the_beginning_are_no_health(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without an earlier rank to compare with."""
    assert said(CollapseAlarm(), capsys, 100, 0.125, 8.1) == ""
    assert BEGUN in said(CollapseAlarm(), capsys, 100, 0.125, 7.9)


def test_few_directions_are_healthy_where_a_method_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SupCon's embeddings of ten classes tend to nine directions, from a start with more."""
    alarm = CollapseAlarm()
    assert said(alarm, capsys, 100, 0.12, 30.0, 9) == ""
    assert said(alarm, capsys, 200, 0.12, 9.0, 9) == ""
    assert BEGUN in said(alarm, capsys, 300, 0.12, 4.0, 9)
    assert said(CollapseAlarm(), capsys, 100, 0.12, 1.0, 1) == ""  # of two classes
    assert BEGUN in said(CollapseAlarm(), capsys, 100, 0.12, 7.0)


FOUR: dict[str, Any] = {"projector_dims": [4], "predictor_dims": [4], "head_norm": None}
METHODS: list[tuple[Any, float]] = [
    (SimCLR(**CNN, projector_dims=[4], projector_norm=None), math.log(63)),
    (SupCon(**CNN, projector_dims=[4]), math.log(63)),
    (MoCoV3(**CNN, **FOUR, temperature=0.2), 0.8 * math.log(32)),
    (NNCLR(**CNN, **FOUR, queue_size=64), math.log(32)),
    (BarlowTwins(**CNN, projector_dims=[4]), 4.0),
    (VICReg(**CNN, projector_dims=[4]), 24.75),
    (LeJEPA(**CNN, projector_dims=[4]), 0.05 * 0.402 * 32),
]


@pytest.mark.parametrize(("method", "constant"), METHODS)
def test_the_loss_of_equal_embeddings_is_known_and_rings(
    method: Any, constant: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """The networks' last maps are 0: the training step gives what the method says."""
    assert method.collapsed_loss(32) == pytest.approx(constant, rel=1e-3)
    heads = ("projector", "predictor", "projector_ema")
    for head in (getattr(method, name) for name in heads if hasattr(method, name)):
        for name, parameter in head[-1].named_parameters():
            torch.nn.init.constant_(parameter, 0.5 if name == "bias" and has_scale(method) else 0)
    batch = pairs(32)[0] | {"label": torch.arange(32) % 4, "seed": 1}
    loss = method.training_step(batch, 0)["loss"].detach()
    assert float(loss) == pytest.approx(constant, rel=2e-3)
    alarm, data = CollapseAlarm(), SimpleNamespace(batch_size=64)
    trainer: Any = SimpleNamespace(accumulate_grad_batches=2, datamodule=data)
    for _ in range(3):
        alarm.on_train_batch_end(trainer, method, {"loss": loss / 2}, batch, 0)
    stuck = alarm._stuck(trainer, method)
    assert "of equal embeddings" in stuck
    assert BEGUN in said(alarm, capsys, 100, 0.12, 40.0, math.inf, stuck)
    for _ in range(30):
        alarm.on_train_batch_end(trainer, method, {"loss": 0.45 * loss}, batch, 0)
    assert alarm._stuck(trainer, method) == ""


def test_a_methods_own_metric_rings_when_it_falls(capsys: pytest.CaptureFixture[str]) -> None:
    """I-JEPA's target_std: below 0.45 of its highest, or below 0.05."""
    method: Any = SimpleNamespace(spread_metric="target_std")
    for values, rings in (((0.23, 0.18), 0), ((0.2, 0.1, 0.08, 0.07), 1), ((0.04,), 1)):
        alarm = CollapseAlarm()
        for spread in values:
            trainer: Any = SimpleNamespace(
                global_step=100, is_global_zero=True, sanity_checking=False,
                state=SimpleNamespace(fn="fit"), callback_metrics={"val/target_std": spread},
            )  # fmt: skip
            alarm.on_validation_end(trainer, method)
        assert capsys.readouterr().err.count(BEGUN) == rings
        resumed = CollapseAlarm()
        resumed.load_state_dict(alarm.state_dict())
        assert resumed.highest_spread == max(values)


def test_embeddings_that_shrink_are_seen_though_their_directions_spread() -> None:
    """SIGReg and VICReg aim at a standard deviation of 1; other methods at none."""
    method: Any = VICReg(**CNN, projector_dims=[4])
    for scale, seen in ((1.0, False), (0.3, False), (0.1, True)):
        alarm = CollapseAlarm()
        for _ in range(2):
            z = 5 + scale * torch.randn(500, 4)
            alarm.on_validation_batch_end(Any, method, {"embedding": z}, None, 0)  # type: ignore[arg-type]
        assert ("healthy 1" in alarm._shrunk(method)) == seen
        assert alarm._shrunk(method) == ""  # of one validation
    alarm, other = CollapseAlarm(), SimCLR(**CNN, projector_dims=[4])
    alarm.on_validation_batch_end(Any, other, {"embedding": 0.01 * z}, None, 0)  # type: ignore[arg-type]
    assert alarm._shrunk(other) == ""


def has_scale(method: Any) -> bool:
    """True if equal embeddings are another matter than embeddings that are 0."""
    return not isinstance(method, LeJEPA)


def test_a_resumed_run_compares_with_what_it_had(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = CollapseAlarm(), CollapseAlarm()
    said(before, capsys, 100, 0.12, 40.0)
    after.load_state_dict(before.state_dict())
    assert BEGUN in said(after, capsys, 200, 0.12, 17.0)


SHORT = [
    "trainer.max_epochs=20",
    "trainer.callbacks=[{class_path: CollapseAlarm}]",
    "checkpoint.monitor=null",
]
NARROW = "model.encoder_kwargs={width: 8}"


def alarm_of(name: str, folder: Path, *words: str) -> CollapseAlarm:
    """After 20 epochs of the recipe on digits, CNNs with a quarter of their channels: 4 to 5 s."""
    narrow = [] if name.startswith("ijepa") else [NARROW]
    lab = build(recipes.resolve([name], [*SHORT, *narrow, *words]), folder)
    lab.trainer.fit(lab.model, datamodule=lab.data)
    (alarm,) = (c for c in lab.trainer.callbacks if isinstance(c, CollapseAlarm))  # type: ignore[attr-defined]
    return alarm


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("byol", "model.predictor_dims=null"),
        pytest.param("simsiam", "model.stop_gradient=false", marks=pytest.mark.slow),
        pytest.param("barlow_twins", "model.off_diagonal_weight=0", marks=pytest.mark.slow),
        pytest.param("vicreg", "model.variance_weight=0", marks=pytest.mark.slow),
        pytest.param("lejepa", "model.sigreg_weight=0", marks=pytest.mark.slow),
    ],
)
def test_a_method_without_what_keeps_it_from_collapse_trips_it(
    name: str, removed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alarm_of(f"{name}/digits", tmp_path / "without", removed).collapsed
    assert capsys.readouterr().err.count(BEGUN) == 1
    assert not alarm_of(f"{name}/digits", tmp_path / "with").collapsed
    assert BEGUN not in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"std_share": 1.5}, {"rank_share": -0.1}, {"after_steps": -1}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"CollapseAlarm.{next(iter(wrong))}"):
        CollapseAlarm(**wrong)


def test_a_validation_of_weights_that_are_not_finite_ends(tmp_path: Path) -> None:
    """All callbacks of self-supervised recipes, as in simclr/digits."""
    recipe = recipes.resolve(["simclr/digits"], ["trainer.limit_train_batches=1"])
    lab = build(recipe, tmp_path)
    with torch.no_grad():
        for parameter in lab.model.parameters():
            parameter.fill_(math.nan)
    lab.trainer.validate(lab.model, datamodule=lab.data, verbose=False)
    assert math.isnan(float(lab.trainer.callback_metrics["val/effective_rank"]))


@pytest.mark.parametrize(
    ("images", "share", "told"), [(2, 1.0, 1), (50, 1.0, 0), (2, 0, 0), (0, 1.0, 0)]
)
def test_few_validation_images_are_named_at_the_start(
    images: int, share: float, told: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data = SimpleNamespace(splits=lambda: {"val": range(images)})
    trainer: Any = SimpleNamespace(datamodule=data, limit_val_batches=share)
    CollapseAlarm().on_fit_start(trainer, Any)  # type: ignore[arg-type]
    assert capsys.readouterr().err.count(f"{images} validation images: ranks") == told
