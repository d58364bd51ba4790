"""WGAN-GP: two optimisers of which one counts, exact resumption, two ranks, precision, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch import Tensor

from genlab import checkpoints, optim, recipes
from genlab.augment.differentiable import differentiable
from genlab.callbacks.plane_metrics import coverage
from genlab.data import Toys
from genlab.methods.wgan_gp import WGANGP
from genlab.metrics.step_metrics import StepMetrics
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.progress import ProgressReport
from genlab.training.tracking.csv_log import CSVLog
from tests.conftest import Here, TwoRanks
from tests.methods.programs_ssl import same_state
from tests.methods.programs_wgan_gp import (
    ADAM,
    AUGMENT,
    NETWORKS,
    R3GAN,
    Double,
    digits,
    fit,
    small,
)
from tests.networks.flows import golden

FAMILY: list[dict[str, Any]] = [
    {},
    {"constraint": "one_sided_penalty", "condition": "projection"},
    {"constraint": "clip", "condition": "concat", "optimizer": {"name": "torch.rmsprop"}},
    {"objective": "hinge", "constraint": "spectral_norm", "n_critic": 1},
    {"objective": "non_saturating", "constraint": "none", "n_critic": 1},
    {**R3GAN, "n_critic": 1, "augment": AUGMENT},
]

DIFFERENCES = ("wasserstein", "relativistic")


class Counts(L.Callback):
    """How often each optimiser stepped."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}

    def on_before_optimizer_step(self, trainer: L.Trainer, *args: Any) -> None:
        optimizer = args[1]
        which = trainer.optimizers.index(optimizer)
        self.steps[which] = self.steps.get(which, 0) + 1


def test_twenty_batches_are_twenty_critic_and_four_generator_steps(tmp_path: Path) -> None:
    method, counts = small(n_critic=5), Counts()
    run = fit(method, tmp_path, counts, data=digits(20))
    assert counts.steps == {0: 4, 1: 20}
    assert run.global_step == 4
    assert method.critic_steps == 20
    assert {int(s["step"]) for s in run.optimizers[0].state.values()} == {4}
    assert {int(s["step"]) for s in run.optimizers[1].state.values()} == {20}


def test_max_steps_and_checkpoints_count_the_generator(tmp_path: Path) -> None:
    method, kept = small(n_critic=5), Checkpoints(monitor=None, keep_every_n_steps=2)
    run = fit(method, tmp_path, kept, max_epochs=-1, max_steps=6)
    assert (run.global_step, method.critic_steps) == (6, 30)
    names = {file.name for file in (tmp_path / "checkpoints").iterdir()}
    assert names == {f"step-{n:08d}.ckpt" for n in (2, 4, 6)} | {"last.ckpt"}


@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 10}])
def test_both_schedules_end_with_the_run(limit: dict[str, Any], tmp_path: Path) -> None:
    """Thirty batches, ten generator steps: the learning rates fall together."""
    seen: list[tuple[float, float]] = []

    def note(run: L.Trainer, *_: Any) -> None:
        seen.append(tuple(o.param_groups[0]["lr"] for o in run.optimizers))

    method = small(optimizer=ADAM | {"lr": 1.0, "schedule": "linear", "lr_scale": {"critic": 4.0}})
    run = fit(method, tmp_path, LambdaCallback(on_train_batch_end=note), **limit)
    assert run.global_step == 10
    assert optim.total_steps(method) == 10
    rounds = seen[2::3]  # after the generator's step
    assert [lr for lr, _ in rounds] == pytest.approx([1 - k / 10 for k in range(10)])
    assert [critic for _, critic in rounds] == pytest.approx([4 - 0.4 * k for k in range(10)])


def test_figures_are_logged_at_generator_steps(tmp_path: Path) -> None:
    method, log = small(), CSVLog(tmp_path / "metrics.csv")
    fit(method, tmp_path, StepMetrics(), max_epochs=2, logger=log, log_every_n_steps=2)
    rows = CSVLog(log.file).rows()
    written = {int(row["step"]): row for row in rows if row.get("train/loss")}
    assert list(written) == [1, 3, 5]
    watched = ("wasserstein", "penalty", "gradient_norm", "gradient_norm_sd", "loss_generator")
    assert all(float(written[3][f"train/{name}"]) != 0 for name in watched)
    held_out = [int(row["step"]) for row in rows if row.get("val/wasserstein")]
    assert held_out == [2, 5]


@pytest.mark.parametrize("at", [4, 9, 14])
def test_resumed_in_a_round_equals_straight(at: int, tmp_path: Path) -> None:
    """Rounds of three and epochs of ten batches; after batch 5, 10 (an epoch's end) and 15."""
    saved = tmp_path / "saved.ckpt"

    def save(run: L.Trainer, *_: Any) -> None:
        if run.fit_loop.epoch_loop.total_batch_idx == at:
            run.save_checkpoint(saved)

    settings = ADAM | {"schedule": "cosine"}
    straight = small(optimizer=settings)
    first = fit(straight, tmp_path, LambdaCallback(on_train_batch_end=save), max_epochs=3)
    resumed = small(optimizer=settings)
    second = fit(resumed, tmp_path / "on", resume=saved, max_epochs=3)
    assert (first.global_step, resumed.critic_steps) == (second.global_step, 30) == (10, 30)
    assert same_state(resumed.state_dict(), straight.state_dict()) == []
    for one, other in zip(first.optimizers, second.optimizers, strict=True):
        moments = zip(one.state.values(), other.state.values(), strict=True)
        assert all(torch.equal(a["exp_avg_sq"], b["exp_avg_sq"]) for a, b in moments)


@pytest.mark.ddp
def test_two_ranks_are_one_process_after_ten_alternations(two_ranks: TwoRanks) -> None:
    """Plain ``ddp``: weights, average and spectral vectors, the same on both ranks too."""
    two_ranks.assert_same("tests.methods.programs_wgan_gp:every", atol=1e-9)


def test_a_batch_in_parts_gives_the_same_weights(tmp_path: Path) -> None:
    states = []
    for parts in (1, 3, 99):  # 16 images: at most one a part
        method = small(Double, accumulate_grad_batches=parts)
        fit(method, tmp_path / str(parts), precision="64-true")
        states.append(method.state_dict())
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(states[2], states[0], rtol=0, atol=1e-9)


def plugin(precision: str) -> Precision:
    """As on a GPU, where Lightning would take it from ``trainer.precision``.

    The scale is one that does not overflow: there the scaler skips steps until it has found it.
    """
    if precision == "32-true":
        return Precision()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0) if precision == "16-mixed" else None
    return MixedPrecision(precision, "cpu", scaler)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_nearly_the_same_network(precision: str, tmp_path: Path) -> None:
    """Ten critic steps, three of the generator; SGD would show a gradient that is still scaled."""
    states = []
    for name in ("32-true", precision):
        method = small(optimizer={"name": "torch.sgd", "lr": 0.05})
        run = fit(method, tmp_path, plugins=[plugin(name)], limit_val_batches=0)
        states.append({k: v for k, v in method.state_dict().items() if "_ema" not in k})
    start = small().state_dict()
    for key, exact in states[0].items():
        moved, off = (exact - start[key]).norm(), (states[1][key] - exact).norm()
        assert off <= 0.1 * moved + 1e-6, key
    scaler = getattr(run.precision_plugin, "scaler", None)
    assert (scaler is None) == (precision == "bf16-mixed")
    if scaler is not None:  # an update after every step of both networks
        assert scaler._growth_tracker.item() == 13


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_each_networks_gradient_is_clipped(precision: str, tmp_path: Path) -> None:
    norms: list[float] = []

    def note(run: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        for optimizer in run.optimizers:
            found = [p.grad for g in optimizer.param_groups for p in g["params"]]
            norms.append(float(torch.nn.utils.get_total_norm(found)))

    watch = LambdaCallback(on_train_batch_end=note)
    method = small(gradient_clip_val=1e-3, n_critic=1)
    fit(method, tmp_path, watch, plugins=[plugin(precision)])
    assert norms == pytest.approx([1e-3] * 20, rel=1e-3)


def test_only_forward_passes_are_autocast(tmp_path: Path) -> None:
    """Inside a training step autocast would also round the second derivatives, by a per cent."""
    forward, backward = set(), set()
    method = small()
    layer: Any = method.critic.score
    layer.register_forward_hook(lambda *_: forward.add(torch.is_autocast_enabled("cpu")))
    layer.weight.register_hook(lambda _: backward.add(torch.is_autocast_enabled("cpu")))
    fit(method, tmp_path, precision="bf16-mixed", limit_val_batches=0)
    assert forward == {True, False}  # scores, and the penalty
    assert backward == {False}


@pytest.mark.parametrize("options", FAMILY)
def test_the_family_trains_measures_and_loads(options: dict[str, Any], tmp_path: Path) -> None:
    method = small(**options)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    run = fit(method, tmp_path, Checkpoints(monitor=None))
    still = {name for name, p in method.named_parameters() if torch.equal(p, before[name])}
    cancels = options.get("objective", "wasserstein") in DIFFERENCES  # in a difference of scores
    assert still <= ({"critic.score.bias"} if cancels else set())
    run.test(method, datamodule=digits(), verbose=False)
    assert all(value.isfinite() for value in run.callback_metrics.values())
    assert {"test/wasserstein", "test/gradient_norm"} <= set(run.callback_metrics)
    again: Any = checkpoints.load(tmp_path / "checkpoints/last.ckpt")
    torch.manual_seed(4)
    image = method.eval().sample(20)
    torch.manual_seed(4)
    assert torch.equal(again.sample(20), image)
    assert image.shape == (20, 1, 8, 8)
    assert 0 <= image.min() < image.max() <= 1
    features = method(image)
    assert features.shape == (20, method.critic.score.in_features)


def test_clipped_weights_stay_small(tmp_path: Path) -> None:
    method = small(constraint="clip", clip_value=0.05)
    fit(method, tmp_path)
    largest = max(float(p.detach().abs().max()) for p in method.critic.parameters())
    assert largest == pytest.approx(0.05)


def test_the_penalty_tames_the_gradient(tmp_path: Path) -> None:
    """Without it the norm of a Wasserstein critic grows without end."""
    norms = []
    for constraint in ("penalty", "none"):
        method = small(constraint=constraint)
        run = fit(method, tmp_path / constraint, max_epochs=8)
        norms.append(float(run.callback_metrics["val/gradient_norm"]))
    assert 0.5 < norms[0] < 1.5
    assert norms[1] > 5 * norms[0]


def test_the_average_follows_and_brings_the_batch_statistics(tmp_path: Path) -> None:
    options: dict[str, Any] = {"generator": "dcgan", "generator_kwargs": {"width": 4}}
    last = small(**options, ema_decay=0.0)
    fit(last, tmp_path / "last", limit_val_batches=0)
    live, average = last.generator.state_dict(), last.generator_ema.average.state_dict()
    weights = dict(last.generator.named_parameters())
    assert all(torch.equal(average[name], weights[name]) for name in weights)
    slow = small(**options, ema_decay=0.9)
    fit(slow, tmp_path / "slow", limit_val_batches=0)
    live, average = slow.generator.state_dict(), slow.generator_ema.average.state_dict()
    assert not any(torch.equal(average[name], live[name]) for name in weights)
    name = "body.2.running_var"
    assert not torch.equal(average[name], torch.ones_like(average[name]))


@pytest.mark.parametrize("condition", ["projection", "concat"])
def test_classes_in_turn_or_as_asked(condition: str) -> None:
    method = small(condition=condition).eval()
    assert method.num_classes == 10
    torch.manual_seed(2)
    turn = method.sample(20)
    torch.manual_seed(2)
    assert torch.equal(method.sample(20, torch.arange(20) % 10), turn)
    torch.manual_seed(2)
    assert not torch.allclose(method.sample(20, torch.zeros(20, dtype=torch.long)), turn)
    assert small().num_classes == 0
    with pytest.raises(ValueError, match="condition requires labels from 0 to 9"):
        method.validation_step({"image": turn, "label": torch.full((20,), -1)}, 0)


def test_cold_noise_gives_one_image() -> None:
    cold = small().eval().sample(5, temperature=0.0)
    torch.testing.assert_close(cold, cold[:1].expand_as(cold))


def test_points_of_the_plane_are_taken_as_they_are(tmp_path: Path) -> None:
    method = small(channels=2, image_size=1, output="linear")
    points = torch.randn(3, 2, 1, 1)
    assert torch.equal(method.to_critic(points), points)
    fit(method, tmp_path, data=Toys(size=160, held_out=32, batch_size=16))
    assert method.sample(7).shape == (7, 2, 1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"critic_kwargs": {"norm": "batch"}},
            "batch norm in the critic mixes them: .*none, layer",
        ),
        ({"constraint": "gp"}, "no constraint 'gp'; there are: clip, none"),
        ({"objective": "wgan"}, "no objective 'wgan'; there are: hinge"),
        ({"output": "relu"}, "no output 'relu'; there are: linear, tanh"),
        ({"objective": "wasserstien"}, "did you mean wasserstein"),
        ({"critic_kwargs": {"batch_norm": True}}, "has no setting 'batch_norm'"),
        ({"condition": "sum"}, "unknown condition 'sum'; choose from projection, concat"),
        ({"constraint": "r1_r2", "critic_kwargs": {"norm": "batch"}}, "constraint 'r1_r2' is per"),
        ({"augment": ["colour"]}, "unknown augment 'colour'; did you mean color"),
        ({"augment": ["color"], "output": "linear"}, "augment requires output: tanh"),
        ({"n_critic": 0}, "n_critic must be at least 1, got 0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be at least 1, got 0"),
        ({"gradient_clip_val": 0.0}, "gradient_clip_val must be above 0"),
        ({"penalty_weight": -1}, "penalty_weight must be above 0, got -1"),
        ({"ema_decay": 1.0}, "ema_decay must be in"),
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WGANGP(**NETWORKS | options)


@pytest.mark.parametrize("key", ["gradient_clip_val", "accumulate_grad_batches"])
def test_the_trainers_own_settings_are_pointed_to_the_methods(key: str, here: Here) -> None:
    words = ("trainer.max_steps=1", "track.wandb=off", f"trainer.{key}=2")
    _, said = here("fit", "wgan_gp/digits", *words, code=2)
    assert f"trainer.{key} does not reach WGANGP's optimisers: set model.{key}" in said


def test_batch_norm_in_the_critic_is_allowed_without_a_penalty() -> None:
    WGANGP(**NETWORKS | {"critic_kwargs": {"norm": "batch"}, "constraint": "clip"})


def test_progress_counts_the_generator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(small(), tmp_path, ProgressReport(), max_epochs=3)
    assert "epoch 3/3  step 10/10" in capsys.readouterr().err
    fit(small(), tmp_path, ProgressReport(), max_epochs=-1, max_steps=4)
    said = capsys.readouterr().err
    assert "step 4/4" in said
    assert "-1" not in said


def test_the_penalty_looks_at_a_place_of_its_own_for_every_pair(tmp_path: Path) -> None:
    """And the critic's step leaves the generator's gradients alone."""
    shares, method = [], small()
    loss = method.critic_loss
    method.critic_loss = lambda *given: shares.append(given[-1]) or loss(*given)  # type: ignore[method-assign, func-returns-value]
    fit(method, tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=0)
    assert all(share.shape == (len(shares[0]),) for share in shares)
    assert len(torch.cat(shares).unique()) == 2 * len(shares[0]) > 2
    assert all(p.grad is None for p in method.generator.parameters())  # no generator step yet


def test_relativistic_losses_have_the_reference_codes_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R3GAN's trainer at 19a7ddf on a critic 2 tanh(w x), gamma 0.5."""
    method = small(Double, **R3GAN, channels=1, image_size=2).double()
    x, y, w = golden.first(3, 4), golden.second(3, 4), golden.second(1, 4)[0]
    real, fake = x.view(3, 1, 2, 2), 0.7 * (2 * y - x).view(3, 1, 2, 2)
    label, z = torch.zeros(3, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.float64)

    def losses_of(fake: Tensor) -> tuple[dict[str, float], float]:
        monkeypatch.setattr(method.generator, "forward", lambda z, label: fake)
        monkeypatch.setattr(
            method.critic, "forward", lambda image, label: 2 * (image.flatten(1) @ w).tanh()
        )
        critic = method.critic_loss(real, label, z, z[:, 0])
        generator = method.generator_loss(real, label, z)["loss"]
        return {name: value.item() for name, value in critic.items()}, generator.item()

    critic, generator = losses_of(fake)
    assert critic["r1"] == pytest.approx(2.0955394968, abs=1e-9)
    assert critic["r2"] == pytest.approx(1.8743062690, abs=1e-9)
    assert critic["loss"] == pytest.approx(1.5196539198, abs=1e-9)
    assert critic["loss"] - (critic["r1"] + critic["r2"]) / 4 == pytest.approx(0.5271924783)
    assert critic["loss_generator"] == generator == pytest.approx(0.9919496499, abs=1e-9)
    assert losses_of(fake.roll(-1, 0))[0]["loss"] != pytest.approx(critic["loss"], abs=0.1)


def test_the_critic_never_sees_an_image_as_it_is(tmp_path: Path) -> None:
    """Neither real nor fake, in neither step; and each has a view of its own."""
    method, seen, made = small(**R3GAN, n_critic=1, augment=AUGMENT), [], list[Tensor]()
    method.critic.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    method.generator.register_forward_hook(lambda _, __, fake: made.append(fake.detach()))
    fit(method, tmp_path, limit_train_batches=1, limit_val_batches=0)
    assert len(seen) == 4  # real and fake of the critic's step, fake and real of the generator's
    assert len(made) == 2
    batch = next(iter(digits().train_dataloader()))
    plain = 2 * batch["image"].float() / 255 - 1
    for rows, image in zip(seen, (plain, *made, plain), strict=True):
        assert rows.shape == image.shape
        assert not any(torch.equal(row, x) for row in rows for x in image)
    assert seen[0].min() < -1.01 or seen[0].max() > 1.01  # no clamp
    assert not torch.equal(seen[0], seen[3])  # the steps draw anew


def test_slopes_are_taken_by_the_image_before_its_augmentation() -> None:
    """What cutout hides has no slope."""
    method = small(Double, **R3GAN, augment=["cutout"]).double()
    image = torch.rand(5, 1, 8, 8, dtype=torch.float64) * 2 - 1
    view = torch.rand(5, 2, 7, dtype=torch.float64)
    score = method.scorer(torch.zeros(5, dtype=torch.int64), view, 1)
    image.requires_grad_()
    (slope,) = torch.autograd.grad(score(image).sum(), image)
    hidden = differentiable(torch.ones_like(image), view[:, 1], ["cutout"]) == 0
    assert hidden.any()
    assert (slope[hidden] == 0).all()
    assert (slope[~hidden] != 0).all()


@pytest.mark.slow
def test_eight_gaussians_are_covered_with_a_penalty_and_not_with_clipped_weights(
    tmp_path: Path,
) -> None:
    """The recipe at one seed; its header has ten of each."""
    found = []
    for options in ({}, {"constraint": "clip"}):
        given = recipes.resolve(["wgan_gp/eight_gaussians"]).config["model"]["init_args"]
        torch.manual_seed(0)
        method = WGANGP(channels=2, image_size=1, **given | options)
        data = Toys(noise=0.02, batch_size=128, seed=0)
        fit(method, tmp_path, data=data, max_epochs=-1, max_steps=2000, limit_val_batches=0)
        torch.manual_seed(1)
        found.append(coverage(data.component(method.eval().sample(10_000)), 8))
    assert found[0]["modes"] == 8
    assert found[0]["on_data"] > 0.8
    assert found[1]["modes"] < 8
