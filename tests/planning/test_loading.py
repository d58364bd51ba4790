from __future__ import annotations

import io

import pytest
from PIL import Image

from genlab import recipes
from genlab.planning import loading


def test_a_made_photograph_is_of_imagenets_size() -> None:
    files = [loading.photograph(number) for number in range(3)]
    assert len(set(files)) == 3
    assert all(90_000 < len(file) < 130_000 for file in files)
    with Image.open(io.BytesIO(files[0])) as picture:
        assert picture.size == (500, 375)


def test_files_are_slower_than_rows_and_decoded_by_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "FILES", 4)
    monkeypatch.setattr(loading, "BATCH", 4)
    files = loading.measure(recipes.resolve(["simclr/imagenet_resnet50"]), seconds=0.02)
    rows = loading.measure(recipes.resolve(["vae/digits"]), seconds=0.02)
    assert files is not None
    assert rows is not None
    assert files.images_per_second * 10 < rows.images_per_second
    assert (files.cores(None), files.cores(4), files.cores(32)) == (8, 4, 8)
    assert rows.cores(16) == 1


@pytest.mark.parametrize(
    ("images", "changes", "workers"),
    [(1000, [], 0), (10**7, [], None), (None, [], None), (1000, ["data.in_memory=false"], None),
     (1000, ["data.augment={translate: 2}"], None), (1000, ["data.workers=3"], 0)],
)  # fmt: skip
def test_few_images_without_crops_are_read_from_memory(
    images: int | None, changes: list[str], workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_files", "_rows"):
        monkeypatch.setattr(loading, name, lambda *_: 100.0)
    folder = ["data=ImageFolder", "data.root=none", "data.image_size=28", "data.channels=1"]
    found = loading.measure(recipes.resolve(["vae/digits"], [*folder, *changes]), images)
    assert found is not None
    assert found.workers == workers


def test_a_gpu_that_decodes_is_not_measured_here() -> None:
    changes = ["data.decode=gpu"]
    assert loading.measure(recipes.resolve(["simclr/imagenet_resnet50"], changes)) is None
