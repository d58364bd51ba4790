"""The judge: right about perfect, repeating, blurred, copying and wrongly scaled generators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import Digits
from genlab.evaluation import Judge, judge, of_method
from genlab.evaluation.neighbours import SHOWN, nearest_training
from genlab.methods.classifier import Classifier

SAMPLES = 400


@pytest.fixture(scope="module")
def data() -> Digits:
    return Digits(batch_size=64, val_size=600)


def images(data: Digits, split: str) -> tuple[Tensor, Tensor]:
    batches = [data.to_device(raw) for raw in data.bank_dataloader(split)]  # type: ignore[arg-type]
    return torch.cat([b["image"] for b in batches]), torch.cat([b["label"] for b in batches])


@pytest.fixture(scope="module")
def nearest_mean(data: Digits) -> Judge:
    """A classifier by the nearest class mean; its features are the pixels."""
    image, label = images(data, "train")
    means = torch.stack([image[label == k].flatten(1).mean(0) for k in range(10)])

    def net(image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.flatten(1) / 255
        return x, -torch.cdist(x, means)

    return Judge("pixels", "nearest mean", dim=64, classes=10, channels=1, size=8, net=net)


class Generator:
    """Draws real images: of the class asked for, of any class, changed in some way, or one."""

    device = torch.device("cpu")
    num_classes = 10

    def __init__(self, data: Digits, kind: str = "own", split: str = "val") -> None:
        self.image, self.label = images(data, split)
        self.kind = kind

    def eval(self) -> None:
        """Nothing."""

    def sample(self, n: int, label: Tensor) -> Tensor:
        assert n == len(label)
        rows = []
        for k in label.tolist():
            own = torch.nonzero(self.label == k)[:, 0]
            if self.kind == "any":
                own = torch.arange(len(self.label))
            if self.kind == "repeat":
                own = own[:1]
            rows.append(own[torch.randint(len(own), ())])
        image = self.image[torch.stack(rows)]
        if self.kind == "blurred":
            return torch.nn.functional.avg_pool2d(image, 3, 1, 1)
        return image * 2 - 1 if self.kind == "minus_one" else image


class Unlabelled(Generator):
    """As `Generator`, without classes."""

    def sample(self, n: int) -> Tensor:  # type: ignore[override]
        return self.image[torch.randint(len(self.image), (n,))]


def figures(data: Digits, by: Judge, kind: str, **options: Any) -> dict[str, Any]:
    """Without the time, which no seed repeats."""
    found = judge(Generator(data, kind), by, data, SAMPLES, **options).figures
    assert found.pop("judge/seconds_per_1000") > 0
    return found


def test_real_images_score_like_real_images(data: Digits, nearest_mean: Judge) -> None:
    found, near, _ = judge(Generator(data), nearest_mean, data, SAMPLES)
    assert found["judge/accuracy"] == pytest.approx(found["judge/accuracy_real"], abs=0.08)
    assert found["judge/diversity"] == pytest.approx(found["judge/diversity_real"], rel=0.05)
    assert found["judge/accuracy_worst_class"] <= found["judge/accuracy"]
    floor = found["judge/fid_pixels_floor"]
    assert found["judge/fid_pixels"] == pytest.approx(floor, abs=floor)
    assert found["judge/precision_pixels"] > 0.6
    assert 0.4 < found["judge/copying_pixels"] < 0.6
    assert found["judge/samples"] == SAMPLES
    assert found["judge/reference"] == "300 test images"
    assert found["judge/floor"] == "400 train images"
    assert "8 px as they are" in found["judge/preprocessing"]
    assert near.near.shape == (2 * SHOWN, SHOWN, 1, 8, 8)
    assert (near.distance.diff(dim=1) >= 0).all()


def test_a_repeated_image_is_right_but_neither_diverse_nor_covering(
    data: Digits, nearest_mean: Judge
) -> None:
    found, real = (figures(data, nearest_mean, kind) for kind in ("repeat", "own"))
    assert found["judge/diversity"] == 0
    assert found["judge/coverage_pixels"] < 0.3 < real["judge/coverage_pixels"]
    assert found["judge/recall_pixels"] == 0
    assert found["judge/fid_pixels"] > 2 * real["judge/fid_pixels"]
    assert found["judge/kid_pixels"] > real["judge/kid_pixels"]


def test_images_of_any_class_are_right_by_chance(data: Digits, nearest_mean: Judge) -> None:
    found = figures(data, nearest_mean, "any")
    assert found["judge/accuracy"] < 0.2
    assert found["judge/inception_score_pixels"] > 1


def test_blur_is_far_off(data: Digits, nearest_mean: Judge) -> None:
    found, real = (figures(data, nearest_mean, kind) for kind in ("blurred", "own"))
    for noun in ("fid_pixels", "kid_pixels"):
        assert found[f"judge/{noun}"] > 5 * abs(real[f"judge/{noun}"])
    for noun in ("precision_pixels", "coverage_pixels", "copying_pixels"):
        assert found[f"judge/{noun}"] < 0.8 * real[f"judge/{noun}"]


def test_copies_of_training_images_are_found(data: Digits, nearest_mean: Judge) -> None:
    generator = Unlabelled(data, split="train")
    found, near, _ = judge(generator, nearest_mean, data, SAMPLES)
    assert found["judge/nearest_pixels"] == 0
    assert found["judge/copying_pixels"] == 1
    assert "judge/accuracy" not in found  # no classes to be asked for
    torch.testing.assert_close(near.sample, near.near[:, 0])
    assert not torch.equal(near.sample, near.near[:, 1])


def test_levels_and_spectra_tell_blurred_samples(data: Digits, nearest_mean: Judge) -> None:
    own, blurred = (figures(data, nearest_mean, kind) for kind in ("own", "blurred"))
    for noun in ("pixels_wasserstein", "pixels_js", "spectrum_gap", "sliced_wasserstein_pixels"):
        floor = own[f"judge/{noun}_floor"]
        assert own[f"judge/{noun}"] < 3 * floor + 1e-3 < blurred[f"judge/{noun}"]
    repeated = figures(data, nearest_mean, "repeat")
    assert repeated["judge/vendi_pixels"] < 11 < 0.8 * own["judge/vendi_pixels_floor"]


def test_copying_is_half_for_equal_distances() -> None:
    x = torch.randn(50, 3)
    for other, share in ((x[:30], 0.5), (x[:30] * 100, 1.0), (x[:30] * 0, 0.5)):
        test = x[:30] if share == 0.5 else other
        found, _, _ = nearest_training(x[:30], x, test, "x")
        assert found["copying_x"] == share


def test_fid_at_infinity_is_there_or_its_absence_has_a_reason(
    data: Digits, nearest_mean: Judge
) -> None:
    few = figures(data, nearest_mean, "own")
    assert few["judge/fid_infinity_absent"] == "64 numbers require 640 samples or more"
    assert "judge/fid_infinity_pixels" not in few
    many, _, _ = judge(Generator(data), nearest_mean, data, 640)
    assert "judge/fid_infinity_absent" not in many
    assert many["judge/fid_infinity_pixels"] < many["judge/fid_pixels"]


def test_evaluations_of_the_network_are_told(data: Digits, nearest_mean: Judge) -> None:
    generator: Any = Generator(data)
    assert "judge/nfe" not in judge(generator, nearest_mean, data, SAMPLES)[0]
    generator.nfe = 40
    assert judge(generator, nearest_mean, data, SAMPLES)[0]["judge/nfe"] == 40


def test_the_same_seed_gives_the_same_figures(data: Digits, nearest_mean: Judge) -> None:
    assert figures(data, nearest_mean, "any") == figures(data, nearest_mean, "any")
    other = figures(data, nearest_mean, "any", seed=1)
    assert other["judge/fid_pixels"] != figures(data, nearest_mean, "any")["judge/fid_pixels"]


def test_sets_that_kid_takes_whole_are_named_and_add_no_deviation(
    data: Digits, nearest_mean: Judge
) -> None:
    found, *_ = judge(Generator(data), nearest_mean, data, samples=300)
    assert found["judge/reference"] == "300 test images"
    assert found["judge/kid_subsets"] == "100 of 300, samples and reference whole in each"
    assert found["judge/kid_pixels_sd"] == pytest.approx(0, abs=1e-12)


def test_the_reference_can_be_the_training_images(data: Digits, nearest_mean: Judge) -> None:
    found = figures(data, nearest_mean, "own", reference="train")
    assert found["judge/kid_subsets"] == "100 of 400, samples whole in each"
    assert found["judge/kid_pixels_sd"] > 0
    assert found["judge/reference"] == "897 train images"
    assert found["judge/floor"] == "300 test images"


def test_binarised_data_are_compared_as_grey_images(nearest_mean: Judge) -> None:
    """The same figures whether or not the recipe binarises: samples are means, not draws."""
    plain, drawn = (
        judge(Generator(Digits(val_size=200)), nearest_mean, data, SAMPLES)
        for data in (Digits(val_size=200), Digits(val_size=200, binarize="fixed"))
    )
    timed = {"judge/seconds_per_1000"}
    assert {k: v for k, v in plain.figures.items() if k not in timed} == {
        k: v for k, v in drawn.figures.items() if k not in timed
    }


class Codes(Generator):
    """A prior over codes, one of them the class, and what they decode to."""

    def __init__(self, data: Digits) -> None:
        super().__init__(data)
        self.tokenizer = self

    def sample_codes(self, n: int, label: Tensor) -> Tensor:
        assert n == len(label)
        return torch.stack([label, torch.randint(10, (n,))], 1)[:, None]  # (n, 1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        return super().sample(len(codes), codes[:, 0, 0])

    def sample(self, n: int, label: Tensor) -> Tensor:
        return self.decode(self.sample_codes(n, label))


def test_controls_of_a_code_prior_lose_what_they_shuffle(data: Digits, nearest_mean: Judge) -> None:
    found, *_ = judge(Codes(data), nearest_mean, data, SAMPLES)
    assert found["judge/accuracy"] > 0.7
    assert found["judge/accuracy_given_class_and_place"] > 0.7
    assert found["judge/accuracy_independent_codes"] < 0.25


@pytest.mark.parametrize(
    ("kind", "samples", "reference", "words"),
    [
        ("minus_one", 400, "test", r"samples must lie in \[0, 1\], they go from -1 to 1"),
        ("own", 9, "test", "samples 9"),
        ("own", 400, "validation", "choose from test, train"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    data: Digits, nearest_mean: Judge, kind: str, samples: int, reference: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        judge(Generator(data, kind), nearest_mean, data, samples, reference)


def test_other_shapes_and_methods_that_draw_nothing_are_refused(
    data: Digits, nearest_mean: Judge
) -> None:
    generator = Unlabelled(data)
    generator.image = torch.rand(20, 1, 28, 28)
    with pytest.raises(ValueError, match="28"):
        judge(generator, nearest_mean, data, SAMPLES)
    with pytest.raises(ValueError, match="does not sample"):
        judge(object(), nearest_mean, data, SAMPLES)
    colours = Judge("grey", "a judge of grey", 64, 0, 1, 8, nearest_mean.net)
    with pytest.raises(ValueError, match="takes 1 channels, the images have 3"):
        colours(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_too_few_samples_for_the_features_are_warned_of(data: Digits, nearest_mean: Judge) -> None:
    with pytest.warns(UserWarning, match="FID of 50 images in 64 dimensions"):
        judge(Unlabelled(data), nearest_mean, data, 50)


def test_classes_of_the_feature_extractor_are_found_by_name(
    data: Digits, nearest_mean: Judge
) -> None:
    backwards = list("9876543210")

    def net(image: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = nearest_mean(image)
        assert logits is not None
        return features, logits.flip(1)

    same, turned = (
        judge(Generator(data), by, data, 300)[0]
        for by in (nearest_mean, replace(nearest_mean, net=net, names=backwards))
    )
    assert turned["judge/accuracy"] == same["judge/accuracy"] > 0.8
    assert turned["judge/worst_class_name"] == str(same["judge/worst_class"])
    others = replace(nearest_mean, names=list("abcdefghij"))
    assert "judge/accuracy" not in judge(Generator(data), others, data, 300)[0]


def test_a_classifier_of_another_size_sees_resized_images(data: Digits) -> None:
    method = Classifier(num_classes=10, channels=3, image_size=16, encoder="lenet").eval()
    by = of_method(method, "run")
    assert (by.name, by.dim, by.classes) == ("lenet", 84, 10)
    assert by.preprocessing(1, 8).endswith(
        "8 px to 16 px, bilinear, antialiased, grey as 3 equal colours"
    )
    image = torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)
    features, logits = by(image)
    unit = torch.full((2, 3, 16, 16), 77 / 255)
    torch.testing.assert_close(features, method(unit).detach())
    torch.testing.assert_close(logits, method.logits(unit).detach())
