"""SupCon: its loss on labels and both views. The laws are in tests/laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab import losses
from genlab.methods.supcon import SupCon
from tests.conftest import Here
from tests.fake_data import write_pictures
from tests.methods.programs_ssl import CNN, VIT, pairs


def small(network: dict[str, Any] = CNN, **options: Any) -> SupCon:
    torch.manual_seed(1)
    return SupCon(**network | {"projector_dims": [12, 6]} | options)


def batch() -> Any:
    return pairs(8)[0] | {"label": torch.tensor([0, 1, 0, 2, 1, 0, 2, 3])}


def test_the_loss_is_of_both_views_and_of_the_labels() -> None:
    method = small(VIT, temperature=0.2)
    found = method.training_step(batch(), 0)["loss"]
    z = [method.embed(view) for view in batch()["views"]]
    torch.testing.assert_close(found, losses.supervised_contrastive(z, batch()["label"], 0.2))
    other = batch() | {"label": torch.arange(8)}
    assert not torch.allclose(found, method.training_step(other, 0)["loss"])


def test_a_folder_without_classes_is_refused(here: Here) -> None:
    write_pictures(here.folder / "classes")
    (here.folder / "mine").mkdir()
    for k, picture in enumerate(sorted((here.folder / "classes").rglob("*.png"))):
        picture.rename(here.folder / "mine" / f"{k}.png")
    _, err = here("fit", "supcon/imagenet100", "data.root=mine", "track.wandb=off", code=2)
    assert "SupCon needs labels, and mine has no class folders" in err
    assert not here.runs()


def test_features_come_from_before_the_projector() -> None:
    method, image = small().eval(), torch.rand(3, 1, 8, 8)
    assert torch.equal(method(image), method.encoder(image))
    assert method.embed(image).shape == (3, 6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="temperature 0 must be above 0"):
        small(temperature=0)
    with pytest.raises(ValueError, match="num_classes 1 must be at least 2"):
        small(num_classes=1)
