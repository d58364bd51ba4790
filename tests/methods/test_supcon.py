"""SupCon: its loss on labels and both views. The laws are in tests/laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import genlab
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


def test_a_split_with_few_labels_is_refused(here: Here) -> None:
    """SC5: a budget of labels cannot be combined with views, so no hidden one leaks in."""
    _, err = here("fit", "supcon/digits", "data.labels=100", "track.wandb=off", code=2)
    assert "labels cannot be combined with views" in err


def test_the_linear_stage_has_no_projector(here: Here) -> None:
    """SC5."""
    short = ("trainer.max_steps=1", "track.wandb=off", "trainer.limit_val_batches=1")
    here("fit", "supcon/digits", *short)
    (run,) = here.runs()
    here("fit", "linear/digits", f"model.pretrained={run}", *short)
    (probe,) = (found for found in here.runs() if found != run)
    learnt, used = (
        genlab.load(found / "checkpoints" / "last.ckpt").state_dict() for found in (run, probe)
    )
    assert any(name.startswith("projector.") for name in learnt)
    assert {name.partition(".")[0] for name in used} == {"encoder", "norm", "head"}
    for name in (name for name in used if name.startswith("encoder.")):
        assert torch.equal(used[name], learnt[name])


def test_features_come_from_before_the_projector() -> None:
    method, image = small().eval(), torch.rand(3, 1, 8, 8)
    assert torch.equal(method(image), method.encoder(image))
    assert method.embed(image).shape == (3, 6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="temperature 0 must be above 0"):
        small(temperature=0)
    with pytest.raises(ValueError, match="num_classes 1 must be at least 2"):
        small(num_classes=1)
