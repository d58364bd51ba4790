"""FixMatch and its relatives: where gradients go, what counts, and what must not be seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import optim
from genlab.contracts import Batch
from genlab.methods.fixmatch import FixMatch
from genlab.networks.pseudo_label_rules import RULES, FreeThreshold
from tests.conftest import TwoRanks
from tests.methods.programs_fixmatch import CNN, IMAGES, VIT, B, K, M, batches, small, train


def with_logits(method: FixMatch, logits: Tensor) -> dict[str, Tensor]:
    """A step of a method whose network says ``logits`` (B + 2 M, K), whatever it sees."""
    method.logits = lambda image: logits  # type: ignore[method-assign]
    return method.training_step(batches()[0], 0)


def leaves(sure: list[int], scale: float = 8.0) -> tuple[Tensor, list[Tensor]]:
    """Logits of B labelled, M weak, M strong images; the weak ones in ``sure`` are confident."""
    torch.manual_seed(3)
    parts = [torch.randn(n, K) * 0.1 for n in (B, M, M)]
    parts[1][sure, 2] = scale
    parts[2][5] = torch.tensor([0.0, 20.0, 0.0, 0.0])  # a confident strong view is no reason
    leaf = [part.requires_grad_() for part in parts]
    return torch.cat(leaf), leaf


def test_labels_come_without_gradient_and_only_confident_images_learn() -> None:
    logits, (x, weak, strong) = leaves([1, 4])
    out = with_logits(small(threshold=0.95), logits)
    out["loss"].backward()
    assert weak.grad is None or torch.equal(weak.grad, torch.zeros_like(weak))
    assert strong.grad is not None
    assert strong.grad.abs().sum(1).nonzero()[:, 0].tolist() == [1, 4]
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert out["mask_rate"].item() == pytest.approx(2 / M)
    expected = F.cross_entropy(strong[[1, 4]], torch.tensor([2, 2])) * 2 / M
    torch.testing.assert_close(out["loss_unlabeled"], expected)
    torch.testing.assert_close(out["loss"], out["loss_labeled"] + expected)


def test_without_a_confident_image_the_loss_is_the_labelled_one() -> None:
    logits, (_, _, strong) = leaves([])
    out = with_logits(small(threshold=0.95), logits)
    assert out["loss_unlabeled"].item() == 0
    out["loss"].backward()
    assert strong.grad is not None
    assert torch.equal(strong.grad, torch.zeros_like(strong))


@pytest.mark.parametrize("rule", ["fixmatch", "uda"])
def test_the_mask_knows_no_temperature(rule: str) -> None:
    q = (3 * torch.randn(100, K)).softmax(1)
    masks = [small(rule, threshold=0.8, temperature=t).rule(q) for t in (0.1, 0.4, 1.0)]
    assert 0 < masks[0].sum() < 100
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


def test_the_threshold_is_compared_in_full_precision() -> None:
    """In bf16 .9495 is .9492 or .9531; the network's bf16 logits are widened first."""
    logits = torch.zeros(2, K)
    logits[:, 0] = torch.tensor([4.0, 4.0625])  # both exact in bf16
    p = logits.softmax(1)[:, 0]
    threshold = float(p.mean())
    assert p[0] < threshold < p[1]
    assert len(p.bfloat16().unique()) == 1 or abs(p[0] - p[1]) < 0.004
    wide = torch.zeros(B + 2 * M, K)
    wide[B : B + 2] = logits
    out = with_logits(small(threshold=threshold), wide.bfloat16())
    assert out["mask_rate"].item() == pytest.approx(1 / M)
    assert out["loss"].dtype == torch.float32


def test_one_pass_in_train_mode_sees_all_images() -> None:
    method, seen = small(), []
    method.encoder.register_forward_hook(lambda *args: seen.append(len(args[2])))
    assert method.training
    method.training_step(batches()[0], 0)
    assert seen == [B + 2 * M]
    passes = [int(n) for key, n in method.state_dict().items() if key.endswith("_tracked")]
    assert passes
    assert set(passes) == {1}


@pytest.mark.parametrize("rule", RULES)
def test_the_true_labels_of_unlabelled_images_are_only_measured(rule: str) -> None:
    """Permuted or unknown, they leave every weight and statistic bit-equal after 20 steps."""
    states, accuracies = [], []
    for change in ("none", "permuted", "unknown"):
        method, given = small(rule), batches(20)
        for batch in given:
            label = batch["unlabeled"]["label"]
            new = {"none": label, "permuted": label.roll(1), "unknown": torch.full_like(label, -1)}
            batch["unlabeled"]["label"] = new[change]
        states.append(train(method, given)["state"])
        accuracies.append(float(method.pseudo_labels.compute()["pseudo_accuracy_all"]))
    for other in states[1:]:
        assert all(torch.equal(states[0][name], value) for name, value in other.items())
    assert 0 < accuracies[0] < 1
    assert accuracies[2] != accuracies[2]  # NaN: nothing is known


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", [CNN, VIT], ids=["cnn", "vit"])
def test_a_step_trains_everything(rule: str, network: dict[str, Any]) -> None:
    method = small(rule, network)
    before = {name: p.clone() for name, p in method.named_parameters()}
    found = train(method, batches(2))
    assert found["figures"].isfinite().all()
    for name, parameter in method.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_the_images_does_not_matter(rule: str) -> None:
    batch = batches()[0]
    there = small(rule, VIT).training_step(batch, 0)
    rows = torch.randperm(M)
    given = batch["unlabeled"]
    unlabeled: Batch = {"label": given["label"][rows], "index": given["index"][rows]}
    unlabeled["views"] = [view[rows] for view in given["views"]]
    permuted: Batch = {"labeled": batch["labeled"], "unlabeled": unlabeled}
    here = small(rule, VIT).training_step(permuted, 0)
    for name, value in there.items():
        torch.testing.assert_close(here[name], value)


def test_each_rule_is_its_own() -> None:
    losses = {}
    for rule in RULES:
        method = small(rule, VIT)
        losses[rule] = float(train(method, batches(3))["figures"][-1][0])
    assert len(set(losses.values())) == len(RULES), losses


def test_pseudo_label_learns_from_the_weak_view_itself() -> None:
    logits, (_, weak, strong) = leaves([1, 4], scale=4.0)
    out = with_logits(small("pseudo_label", threshold=0.9), logits)
    out["loss"].backward()
    assert weak.grad is not None
    assert weak.grad.abs().sum(1).nonzero()[:, 0].tolist() == [1, 4]
    assert strong.grad is None or not strong.grad.any()


def test_uda_learns_the_sharpened_prediction() -> None:
    logits, (_, weak, strong) = leaves([1, 4], scale=3.0)
    out = with_logits(small("uda", threshold=0.8, align="none", temperature=0.4), logits)
    target = (weak.detach() / 0.4).softmax(1)[[1, 4]]
    torch.testing.assert_close(
        out["loss_unlabeled"], F.cross_entropy(strong[[1, 4]], target) * 2 / M
    )


def test_fairness_is_minus_an_entropy_and_is_added() -> None:
    """FreeMatch's L_f = -H(a, b) = sum a log b <= 0, weighted and added, as in USB's code."""
    logits, _ = leaves(list(range(M)), scale=2.0)
    for fairness in (0.5, 2.0):
        method = small("freematch", fairness=fairness)
        out = with_logits(method, logits)
        assert out["mask_rate"] == 1
        p = logits[B + M :].softmax(1)
        said = F.one_hot(p.argmax(1), K).float().mean(0)
        ours = torch.where(said > 0, p.mean(0) / said, 0.0)  # a is even at the start
        ours = (ours / ours.sum()).clamp(min=1e-30).log()[said > 0].sum() / K
        assert ours < 0
        torch.testing.assert_close(out["loss_fairness"], ours)
        expected = out["loss_labeled"] + out["loss_unlabeled"] + fairness * ours
        torch.testing.assert_close(out["loss"], expected)


def test_the_unlabelled_weight_can_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    method = small(warmup_steps=10, unlabeled_weight=3.0)
    for step, share in ((0, 0.0), (5, 0.5), (20, 1.0)):
        monkeypatch.setattr(FixMatch, "global_step", step)
        out = method.training_step(batches()[0], 0)
        expected = out["loss_labeled"] + 3 * share * out["loss_unlabeled"]
        torch.testing.assert_close(out["loss"], expected)


def test_statistics_move_once_a_step_by_all_its_batches() -> None:
    whole, parts = small("freematch", VIT), small("freematch", VIT)
    assert isinstance(whole.rule, FreeThreshold)
    assert isinstance(parts.rule, FreeThreshold)
    batch = batches()[0]
    whole.training_step(batch, 0)
    whole.after_step()
    for half in (slice(0, None, 2), slice(1, None, 2)):
        before = parts.rule.confidence.clone()
        parts.training_step(batches(1, half)[0], 0)
        assert torch.equal(parts.rule.confidence, before)
    parts.after_step()
    torch.testing.assert_close(parts.rule.state_dict(), whole.rule.state_dict())
    assert whole.rule.confidence != 1 / K


@pytest.mark.ddp
def test_two_ranks_equal_one_process(two_ranks: TwoRanks) -> None:
    """Loss, mask, every figure, gradients, weights and statistics after three steps, all rules."""
    two_ranks.assert_same("tests.methods.programs_fixmatch:three_steps", atol=2e-6)


def test_norms_and_biases_are_not_decayed() -> None:
    for encoder in ("small_cnn", "resnet18", "wrn_10_1", "vit_tiny_patch16_224"):
        method = FixMatch(**IMAGES | {"encoder": encoder})
        settings = {"name": "sgd", "lr": 0.03, "weight_decay": 5e-4}
        groups = optim.build(method, settings).param_groups
        assert all(group["nesterov"] for group in groups)
        decayed = [p for g in groups if g["weight_decay"] for p in g["params"]]
        assert decayed
        assert all(p.ndim > 1 for p in decayed)


def test_the_head_is_the_only_new_part() -> None:
    method = small()
    assert isinstance(method.head, nn.Linear)
    image = torch.rand(3, 1, 8, 8)
    method.eval()
    torch.testing.assert_close(method.logits(image), method.head(method(image)))


def test_collapsed_pseudo_labels_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    method = small()
    method._alarm(torch.tensor([0.4, 0.3, 0.2, 0.1]), 0.92)
    assert not capsys.readouterr().err
    method._alarm(torch.tensor([0.0, 0.97, 0.03, 0.0]), 0.1)
    assert "97% of those in use are class 1" in capsys.readouterr().err
    method._alarm(torch.tensor([0.0, 0.97, 0.03, 0.0]), 0.1)
    assert not capsys.readouterr().err


def test_wrong_arguments_are_refused() -> None:
    for options, message in (
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\], got 0.0"),
        ({"threshold": 1.01}, r"threshold must be in \(0, 1\]"),
        ({"rule": "flexmach"}, "did you mean flexmatch"),
        ({"align": "both"}, "unknown align 'both'; choose from "),
        ({"fairness": 0.1}, "fairness is FreeMatch's"),
        ({"decay": 1.0}, r"decay 1.0 in \[0, 1\)"),
        ({"temperature": 0.0}, "temperature 0.0 must be above 0"),
        ({"unlabeled_weight": -1.0}, "unlabeled_weight must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            FixMatch(**CNN | options)
    with pytest.raises(ValueError, match=r"set data.labels"):
        small().training_step({"image": torch.rand(2, 1, 8, 8)}, 0)


def test_sharpness_aware_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="sees every batch twice"):
        small(optimizer={"name": "sgd", "lr": 0.1, "sam": 0.05})
