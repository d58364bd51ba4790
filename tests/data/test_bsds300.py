"""BSDS300: the literature's preprocessing, parts by photograph, and the Gaussian of the tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import BSDS300, BrokenDataError, MissingDataError
from genlab.data.bsds300 import vectors
from tests.data.test_vectors import rows


@pytest.fixture
def photographs() -> str:
    root = os.environ.get("GENLAB_DATA", "nowhere")
    if not Path(root, "BSDS300", "images").is_dir():
        pytest.skip("GENLAB_DATA has no BSDS300")
    return root


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """Photographs of one grey each: that of training photograph i is i."""
    for part, count in (("train", 200), ("test", 100)):
        folder = tmp_path / "BSDS300" / "images" / part
        folder.mkdir(parents=True)
        for i in range(count):
            Image.new("L", (12, 9), i).save(folder / f"{i:03}.jpg", quality=100)
    return str(tmp_path)


def small(root: str, **options: Any) -> BSDS300:
    sizes: dict[str, Any] = {"patches": 4000, "held_out": 800, "test_patches": 500}
    return BSDS300(root=root, **sizes | {"batch_size": 50} | options)


def test_a_patch_is_dequantised_centred_and_loses_its_last_pixel() -> None:
    patch = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    found = vectors(patch, torch.full((1, 1, 8, 8), 0.5)).flatten()
    want = (np.arange(64) + 0.5) / 256
    np.testing.assert_allclose(found.numpy(), (want - want.mean())[:63], atol=1e-7)


def test_parts_share_no_photograph(plain: str) -> None:
    data = small(plain)
    data.setup()
    grey = data._parts["train"][0].images.flatten(1)  # type: ignore[attr-defined]
    assert (grey == grey[:, :1]).all()  # windows keep to their photograph
    assert len(grey[:, 0].unique()) == 180
    folds = [small(plain, folds=4, fold=k) for k in range(2)]
    for fold in folds:
        fold.setup()
    ours = [set(f._parts["train"][0].images[:, 0, 0, 0].tolist()) for f in folds]  # type: ignore[attr-defined]
    assert [len(own) for own in ours] == [150, 150]
    assert len(ours[0] | ours[1]) == 200  # what one holds out, the other trains on
    assert len(small(plain, val_size=0).splits()["val"]) == 0


def test_noise_is_fresh_in_training_and_fixed_in_evaluation(plain: str) -> None:
    data = small(plain)
    first, second = (next(data.batches("train", epoch))["image"] for epoch in (0, 1))
    assert first.shape == (50, 63, 1, 1)
    assert torch.isin(first, second).float().mean() < 0.05  # by chance
    assert torch.equal(first, next(small(plain).batches("train", 0))["image"])
    for part in ("train", "val", "test"):
        assert torch.equal(rows(data, part), rows(small(plain, seed=5), part))
    spread = rows(data, "test").double()
    assert spread.var().item() == pytest.approx((1 - 1 / 64) / 12 / 256**2, rel=0.02)
    assert spread.abs().max() < 1 / 256


def test_vectors_pass_unchanged_as_a_plan_makes_them() -> None:
    image = torch.zeros(4, 63, 1, 1, dtype=torch.uint8)
    batch = BSDS300().to_device({"image": image, "index": torch.arange(4), "seed": 1})
    assert torch.equal(batch["image"], torch.zeros(4, 63, 1, 1))


def test_other_folders_are_refused(plain: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="BSDS300 not found: no photographs in"):
        BSDS300(root=str(tmp_path / "none")).setup()
    one = Path(plain, "BSDS300", "images", "train", "000.jpg")
    one.write_bytes(b"no photograph")
    with pytest.raises(BrokenDataError, match=r"000\.jpg is not a photograph"):
        BSDS300(root=plain).setup()
    one.unlink()
    with pytest.raises(BrokenDataError, match="199 photographs; BSDS300 has 200"):
        BSDS300(root=plain).setup()
    with pytest.raises(ValueError, match="patches 0"):
        BSDS300(patches=0)
    with pytest.raises(ValueError, match="views requires images"):
        BSDS300(views="simclr")


def test_a_full_gaussian_has_the_result_of_the_tables(photographs: str) -> None:
    """96.67 +- 0.25 nats in MAF's paper, on other patches; sd of a patch 63 nats."""
    data = BSDS300(root=photographs, patches=100_000, held_out=10, eval_batch_size=10_000)
    train, test = (rows(data, part).flatten(1).double() for part in ("train", "test"))
    assert test.shape == (100_000, 63)
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    density = normal.log_prob(test)
    assert 95.8 < density.mean().item() < 97.0
    assert density.std().item() == pytest.approx(63, abs=3)


def test_the_test_patches_are_always_the_same(photographs: str) -> None:
    data = BSDS300(root=photographs, patches=10, held_out=10)
    data.setup()
    test = data._parts["test"][0].images  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        test[0, :4, 0, 0].numpy(), [0.1746, 0.0891, 0.0663, -0.0324], atol=5e-5
    )
    assert test.double().sum().item() == pytest.approx(58.3527, abs=0.2)
