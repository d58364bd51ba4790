"""Every switch of the classifier does what its paper says, and nothing when it is off."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import Batch
from genlab.methods.classifier import Classifier
from tests.conftest import TwoRanks

SMALL: dict[str, Any] = {"image_size": 8, "encoder_kwargs": {"width": 8}}


def classifier(**options: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(**(SMALL | options))


def batch(n: int = 24) -> Batch:
    return {"image": torch.rand(n, 1, 8, 8), "label": torch.arange(n) % 10}


def step(method: Classifier, data: Batch) -> Tensor:
    torch.manual_seed(1)
    return method.training_step(data, 0)["loss"]


def logits_of(method: Classifier, data: Batch) -> Tensor:
    """Of a training forward pass that leaves the method as it was."""
    return copy.deepcopy(method).logits(data["image"])


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "binary_focal"])
def test_the_named_loss_is_the_one_trained_with(kind: str) -> None:
    data, method = batch(), classifier(loss=kind, focal_gamma=1.5, focal_alpha=0.4)
    logits = logits_of(method, data)
    hot, p = F.one_hot(data["label"], 10), logits.softmax(1)
    if kind == "binary_focal":
        entropy = F.binary_cross_entropy_with_logits(logits, hot.float(), reduction="none")
        p = logits.sigmoid()
        wrong = torch.where(hot == 1, 1 - p, p)
        wanted = (torch.where(hot == 1, 0.4, 0.6) * wrong**1.5 * entropy).sum(1).mean()
    else:
        own = p.gather(1, data["label"][:, None])[:, 0]
        wanted = (-((1 - own) ** (1.5 if kind == "focal" else 0)) * own.log()).mean()
    torch.testing.assert_close(step(method, data), wanted)


def test_label_smoothing_reaches_the_loss() -> None:
    data, method = batch(), classifier(label_smoothing=0.2)
    wanted = F.cross_entropy(logits_of(method, data), data["label"], label_smoothing=0.2)
    torch.testing.assert_close(step(method, data), wanted)


def test_flooding_climbs_again_below_its_level() -> None:
    """Fresh loss is about 2.3: a level of 5 turns every gradient round."""
    data, plain, flooded = batch(), classifier(), classifier(flooding=5.0)
    for method in (plain, flooded):
        step(method, data).backward()
    assert plain.head.weight.grad is not None
    assert flooded.head.weight.grad is not None
    torch.testing.assert_close(flooded.head.weight.grad, -plain.head.weight.grad)
    assert step(flooded, data) > 5


def test_class_weights_multiply_the_loss_and_divide_by_the_images() -> None:
    weights = [1.0, 5.0, 0.5, *[1.0] * 7]
    data, method = batch(), classifier(class_weights=weights)
    nll = F.cross_entropy(logits_of(method, data), data["label"], reduction="none")
    torch.testing.assert_close(
        step(method, data), (torch.tensor(weights)[data["label"]] * nll).mean()
    )


def test_prior_bias_of_binary_focal_loss_says_one_per_cent() -> None:
    """The loss of the easy negatives no longer drowns the rest: Lin et al. 2017, section 4.1."""
    method = classifier(loss="binary_focal", prior_bias=True)
    torch.testing.assert_close(method.head.bias.sigmoid(), torch.full((10,), 0.01))
    data = batch()
    assert step(method, data) < 0.7 * step(classifier(loss="binary_focal"), data)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_trains_on_mixed_images_and_shares_of_labels(kind: str) -> None:
    """The loss is the cross entropy of the mixed images against the mixed labels."""
    data = batch() | {"label": torch.arange(24) // 12}  # image i is mixed with 23 - i
    method = classifier(num_classes=2, **{kind: 1.0})
    assert method.mixing is not None
    torch.manual_seed(1)
    image, target = method.mixing(data["image"], data["label"])
    wanted = F.cross_entropy(logits_of(method, data | {"image": image}), target)
    assert not torch.equal(image, data["image"])
    assert 0 < target[0, 1] < 1
    torch.testing.assert_close(step(method, data), wanted)
    assert step(classifier(num_classes=2), data) != wanted
    assert step(classifier(num_classes=2, mix_prob=0.0, **{kind: 1.0}), data) == step(
        classifier(num_classes=2), data
    )


def test_accuracy_of_a_mixed_image_is_that_of_its_larger_share() -> None:
    method = classifier(num_classes=2, mixup=1.0)
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(torch.tensor([1.0, 0.0]))  # everything is class 0
    data = batch() | {"label": torch.arange(24) // 18}  # three quarters are
    assert method.training_step(data, 0)["accuracy"] == pytest.approx(0.75, abs=0.26)
    half = data | {"label": torch.arange(24) // 12}
    assert method.training_step(half, 0)["accuracy"] == 0.5


def test_mixing_unlabelled_images_is_refused() -> None:
    data = batch()
    data["label"][3] = -1
    with pytest.raises(ValueError, match="unlabelled"):
        classifier(mixup=0.2).training_step(data, 0)


def test_unlabelled_images_count_for_nothing() -> None:
    data, method = batch(), classifier(label_smoothing=0.1, class_weights=[2.0] * 10).eval()
    more: Batch = {"image": torch.cat([data["image"], torch.rand(9, 1, 8, 8)])}
    more["label"] = torch.cat([data["label"], torch.full((9,), -1)])
    for name, value in method.training_step(data, 0).items():
        torch.testing.assert_close(method.training_step(more, 0)[name], value)


def test_dropout_works_in_training_only() -> None:
    data, method = batch(), classifier(dropout=0.5)
    assert step(method, data) != step(classifier(), data)
    assert torch.equal(method.eval().logits(data["image"]), method.logits(data["image"]))


def test_mirrored_images_are_averaged_outside_training() -> None:
    image, method = batch()["image"], classifier(tta="hflip").eval()
    with torch.no_grad():
        one, other = (method.head(method(x)) for x in (image, image.flip(-1)))
        torch.testing.assert_close(method.logits(image), (one + other) / 2)
        torch.testing.assert_close(method.logits(image), method.logits(image.flip(-1)))
        assert not torch.allclose(one, other, atol=1e-3)
        off = classifier().eval()
        assert torch.equal(off.logits(image), off.head(off(image)))
    assert torch.equal(step(method.train(), batch()) * 0, torch.zeros(()))
    data = batch()
    torch.testing.assert_close(step(method, data), step(classifier(), data))


@pytest.mark.parametrize("freeze", [1, "all"])
def test_frozen_stages_do_not_move(freeze: int | str) -> None:
    data, method = batch(), classifier(freeze=freeze)
    before = copy.deepcopy(method.encoder.state_dict())
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1)
    step(method.train(), data).backward()
    optimizer.step()
    moved = {n for n, v in method.encoder.state_dict().items() if not torch.equal(v, before[n])}
    first = {n for n in before if n.startswith(("backbone.0.", "backbone.1."))}
    assert not moved & first
    assert bool(moved) == (freeze == 1)
    assert method.head.weight.grad is not None


@pytest.mark.filterwarnings("ignore:.*does not say how its images were normalised")
def test_pretrained_weights_reach_the_encoder(tmp_path: Path) -> None:
    donor = classifier()
    torch.save(donor.encoder.backbone.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(5)
    method = Classifier(
        **SMALL, pretrained=str(tmp_path / "weights.pt"), pretrained_options={"at_least": 1.0}
    )
    for name, value in donor.encoder.backbone.state_dict().items():
        assert torch.equal(method.encoder.backbone.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "unknown loss 'hinge'; choose from cross_entropy, focal, binary_focal"),
        ({"tta": "flip"}, "unknown tta 'flip'; choose from none, hflip"),
        ({"class_weights": "equal"}, "class_weights must be none, balanced or 10 numbers"),
        ({"class_weights": [1.0, 2.0]}, "class_weights must be none, balanced or 10 numbers"),
        ({"dropout": 1.5}, "dropout must be in 0 ... 1, got 1.5"),
        ({"label_smoothing": -0.1}, "label_smoothing must be in 0 ... 1"),
        ({"flooding": -1.0}, "flooding must be in"),
        ({"mixup": -1.0}, "mixup -1.0 must be"),
        ({"freeze": 9}, "freeze must be"),
        ({"freeze": "half"}, "freeze must be"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**options)


@pytest.mark.ddp
def test_two_ranks_train_as_one_process(two_ranks: TwoRanks) -> None:
    """Loss, gradients and weights after three steps, labels and weights dealt unevenly."""
    two_ranks.assert_same("tests.methods.programs_classifier:three_steps", atol=1e-5)
