"""Images of tokens and attention, for ViTs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab import recipes
from genlab.callbacks import TokenPictures
from genlab.callbacks.token_pictures import CAPTION
from genlab.drawing.columns import titled
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, VIT, small


def test_a_row_for_each_image_with_all_heads(tmp_path: Path) -> None:
    method = small("simsiam", VIT)
    trainer(tmp_path, TokenPictures(count=3)).fit(method, datamodule=digits())
    (file,) = (tmp_path / "pictures").glob("tokens-*.png")
    with Image.open(file) as picture:
        found = np.asarray(picture)
    data = digits()
    loader: Any = data.val_dataloader()
    image = next(iter(loader))["image"][:3].float() / 255
    with torch.no_grad():
        columns = TokenPictures(3)._columns(method.eval().encoder, {"image": image})
    names = [name.partition(" (")[0] for name in columns]
    assert names == ["image", "components", "head 1", "head 2"]
    assert all(name.endswith("x)") for name in columns if "head" in name)
    assert np.array_equal(found, titled(columns, "SimSiam, step 20", captions=[CAPTION]))
    assert "white 4 times the mean" in CAPTION
    heads = TokenPictures(3, most_heads=1)._columns(method.encoder, {"image": image})
    assert list(heads) == list(columns)[:3]


def test_cnns_are_left_alone(tmp_path: Path) -> None:
    trainer(tmp_path, TokenPictures()).fit(small("simsiam", CNN), datamodule=digits())
    assert not (tmp_path / "pictures").exists()


def test_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 0, 6"):
        TokenPictures(count=0)


@pytest.mark.parametrize("name", ["dinov2/digits", "mae/digits", "moco_v3/imagenet_vit_small"])
def test_recipes_of_vits_draw_them(name: str) -> None:
    callbacks = recipes.resolve([name]).config["trainer"]["callbacks"]
    assert [recipes.short(one["class_path"]) for one in callbacks].count("TokenPictures") == 1
