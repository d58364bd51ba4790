"""An override of the encoder drops what was meant for the recipe's own, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.recipes import Recipe, resolve
from genlab.training.changed_encoder import drop_surplus


def adapted(words: list[str], overrides: list[str]) -> Recipe:
    """A recipe after overrides."""
    recipe = resolve(words, overrides)
    before = torch.get_rng_state()
    drop_surplus(recipe)
    assert torch.equal(torch.get_rng_state(), before)
    return recipe


def left(words: list[str], overrides: list[str]) -> dict[str, Any]:
    """The ``encoder_kwargs`` of a recipe after overrides."""
    return adapted(words, overrides).arguments("model")["encoder_kwargs"]


@pytest.mark.parametrize(
    ("recipe", "override", "kept"),
    [
        ("simclr/mnist", "resnet10t", {}),
        ("simclr/mnist", "small_cnn", {"width": 16}),  # the same encoder
        ("simclr/cifar10", "resnet34", {"stem": "cifar"}),
        ("simclr/cifar10", "vit_tiny_patch16_224", {}),
        ("simclr/cifar10", "lenet", {}),
        ("simclr/cifar10", "resnte34", {"stem": "cifar"}),  # refused when it is made
    ],
)
def test_what_the_new_encoder_does_not_take_is_dropped(
    recipe: str, override: str, kept: dict[str, Any]
) -> None:
    before = resolve([recipe]).arguments("model")["encoder_kwargs"]
    found = adapted([recipe], [f"model.encoder={override}"])
    after = found.arguments("model")["encoder_kwargs"]
    ours = {key: before[key] for key in ("channels_last", "normalize") if key in before}
    assert after == kept | ours
    said = [note for note in found.notes if f"of {recipe} no longer applies" in note]
    assert len(said) == (before != after)


def test_what_is_given_beside_or_after_the_new_encoder_stays_and_is_refused_later() -> None:
    encoder, width = "model.encoder=resnet10t", "model.encoder_kwargs.width=3"
    for words in ([encoder, width], [width, encoder]):
        assert left(["simclr/mnist"], words) == {"width": 3}


def test_settings_of_genlab_s_own_stay(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    kwargs = "{width: 16, channels_last: true, normalize: {mean: 0.5, std: 0.5}}"
    file.write_text(f"config: simclr/mnist\nmodel: {{encoder_kwargs: {kwargs}}}\n")
    kept = left([str(file)], ["model.encoder=resnet10t"])
    assert kept == {"channels_last": True, "normalize": {"mean": 0.5, "std": 0.5}}
