"""What ``pack`` says of crops, against the crops that are cut."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from genlab.augment.views import PRESETS
from genlab.data.files.cuts import RandomCrop, numbers
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import Listing
from genlab.data.shards.detail import LEAST, WANTED, crops_of, scaled
from genlab.data.shards.packing import Packing, pack

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "recipes"
LOST = (
    "100% of images are scaled down: crops of 8% of the area are 84 pixels a side, of 100% 295 "
    "(enlarged to 224: below 57% of the area); from the files 122 and 433 (below 27% of the area)"
)


def plain(root: Path, *sizes: tuple[int, int]) -> list[Path]:
    root.mkdir()
    files = [root / f"{k}.png" for k in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        Image.new("L", size).save(file)
    return files


def crops(files: list[Path], side: int | None, seed: int) -> str:
    return crops_of(Listing(FileNames.of(files), np.zeros(len(files), np.int64)), side, seed)


def test_what_is_lost_of_photographs(tmp_path: Path) -> None:
    files = plain(tmp_path / "a", (500, 375), (375, 500), (500, 375))
    (tmp_path / "a" / "broken.png").write_text("not an image")
    files += [tmp_path / "a" / "broken.png", tmp_path / "a" / "nowhere.png"]
    assert crops(files, 256, 0) == LOST
    assert "(enlarged to 224: all)" in crops(files, 64, 0)
    assert "nothing: none of 3 images looked at is larger than 384" in crops(files, 384, 0)
    assert "lose nothing: images keep all their pixels" in crops(files, None, 0)
    assert crops(files[3:], 256, 0) == ""


def test_the_guides_advice_has_these_numbers(tmp_path: Path) -> None:
    text = " ".join((ROOT / "docs" / "guides" / "large-data.md").read_text().split())
    for words in ("has 122 pixels a side", "below 27 %", "That crop has 84 pixels", "below 57 %"):
        assert words in text
        assert re.findall(r"\d+", words)[0] in LOST
    [file] = plain(tmp_path / "camera", (4000, 3000))
    said = crops([file], 384, 0)
    assert "8% of the area are 125 pixels" in said
    assert "A crop of 8 % of 4:3 has 125 pixels" in text


def test_large_and_mixed_images(tmp_path: Path) -> None:
    large = plain(tmp_path / "large", (1200, 900))
    assert crops(large, 700, 0).endswith(
        "(enlarged to 224: none); from the files 294 and 1039 (none)"
    )
    mixed = plain(tmp_path / "mixed", *[(100, 100)] * 3, (400, 400))
    assert crops(mixed, 200, 0).startswith("25% of images are scaled down: ")


def test_pack_says_it_once_before_the_first_image_and_keeps_to_it(tmp_path: Path) -> None:
    plain(tmp_path / "a", (500, 375))
    said: list[Any] = []
    pack(
        tmp_path / "a", tmp_path / "s", Packing(resize=256),
        tell=lambda done, total: said.append(done), say=said.append,
    )  # fmt: skip
    assert said == [LOST, 0, 1]


@pytest.mark.parametrize("size", [(500, 375), (375, 500)])
def test_crops_that_are_cut_are_so_large(size: tuple[int, int]) -> None:
    width, height = scaled(size, 256)
    crop, drawn = RandomCrop(WANTED, (LEAST, LEAST)), numbers(0, np.arange(200), 0)
    sides = [
        (tall * wide) ** 0.5 for _, _, tall, wide in (crop.box(height, width, d) for d in drawn)
    ]
    assert np.mean(sides) == pytest.approx(84, abs=0.5)


def asked(recipe: Any) -> float | None:
    """Smallest area of a folder recipe's crops, as if of `WANTED` pixels."""
    data = (recipe or {}).get("data") or {}
    crop = ((data.get("init_args") or {}).get("augment") or {}).get("crop")
    if data.get("class_path") != "ImageFolder" or crop is None:
        return None
    area: float = crop[0] * (WANTED / data["init_args"]["image_size"]) ** 2
    return area


def test_no_recipe_asks_for_smaller_crops() -> None:
    found = [asked([*yaml.safe_load_all(file.read_text())][-1]) for file in RECIPES.rglob("*.yaml")]
    assert min(area for area in found if area is not None) == LEAST
    for views in PRESETS.values():
        for view in views:
            assert view.get("crop", (LEAST, 1.0))[0] / view.get("size", 1.0) ** 2 >= LEAST
