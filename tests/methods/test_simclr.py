"""SimCLR: its loss over both views, in one pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genlab import losses
from genlab.methods.simclr import SimCLR
from genlab.training.tracking.csv_log import CSVLog
from tests.conftest import Shell
from tests.fake_data import write_pictures
from tests.methods.programs_ssl import CNN, VIT, pairs, small


def test_the_loss_is_nt_xent_of_both_views_embeddings() -> None:
    method, batch = small("simclr", VIT, projector_norm=None, temperature=0.2), pairs(8)[0]
    found = method.training_step(batch, 0)["loss"]
    z1, z2 = (method.embed(view) for view in batch["views"])
    torch.testing.assert_close(found, losses.nt_xent(z1, z2, 0.2))


def test_batch_norm_sees_both_views_in_one_pass() -> None:
    method = small("simclr")
    method.training_step(pairs(8)[0], 0)
    passes = [int(n) for key, n in method.state_dict().items() if key.endswith("_tracked")]
    assert passes == [1] * 5


def test_small_batches_are_no_large_one() -> None:
    """The loss is not additive: what accumulates is another gradient, as the docstring says."""
    method, (view1, view2) = small("simclr", VIT, projector_norm=None), pairs(8)[0]["views"]
    whole = method.training_step({"views": [view1, view2]}, 0)["loss"]
    parts = [
        method.training_step({"views": [view1[rows], view2[rows]]}, 0)["loss"]
        for rows in (slice(0, 4), slice(4, 8))
    ]
    assert abs(float((whole - sum(parts) / 2).detach())) > 0.1
    assert "accumulation" in str(SimCLR.__doc__)


def test_a_mere_folder_of_pictures_trains(shell: Shell) -> None:
    """Without class folders nothing but the path changes; sizes here are for the sake of time."""
    write_pictures(shell.folder / "classes")
    (shell.folder / "mine").mkdir()
    for k, picture in enumerate(sorted((shell.folder / "classes").rglob("*.png"))):
        picture.rename(shell.folder / "mine" / f"{k}.png")
    small_sizes = ["data.image_size=32", "data.batch_size=16", "trainer.max_epochs=1"]
    small_sizes += ["model.encoder=small_cnn", "data.workers=0"]
    words = ("fit", "simclr/imagenet100", "data.root=mine", "trainer.precision=32-true")
    watch = ["trainer.log_every_n_steps=1", "trainer.accelerator=cpu", "track.wandb=off"]
    shell(*words, *small_sizes, *watch)
    rows = CSVLog(shell.runs()[0] / "metrics.csv").rows()
    losses_ = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses_) == 3  # 60 pictures without test and val, 16 at a time
    assert all(0 < loss < 10 for loss in losses_)


def test_features_come_from_before_the_projector() -> None:
    method = small("simclr").eval()
    image = torch.rand(3, 1, 8, 8)
    assert torch.equal(method(image), method.encoder(image))
    assert method(image).shape == (3, method.encoder.out_dim)
    assert method.embed(image).shape == (3, 6)


def test_the_projector_ends_in_batch_norm_or_not() -> None:
    assert isinstance(small("simclr").projector[-1], nn.BatchNorm1d)
    assert isinstance(SimCLR(**CNN, projector_norm="layer").projector[-1], nn.Linear)
    with pytest.raises(ValueError, match="unknown norm 'group'; choose from "):
        SimCLR(**CNN, projector_norm="group")
