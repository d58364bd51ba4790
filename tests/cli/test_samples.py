"""What ``sample`` writes: a file for each of its settings, and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.cli import samples
from genlab.drawing.lettering import lettered
from tests.conftest import Here


def test_other_settings_are_other_files(digits_run: Path, here: Here) -> None:
    told = [
        here("sample", str(digits_run), *words)[0].splitlines()[0]
        for words in ([], ["--temperature", "0.5"], ["--temperature", "0.5", "--seed", "3"])
    ]
    assert [Path(one).name for one in told] == [
        "sample.png",
        "sample-temperature-0.5.png",
        "sample-temperature-0.5-seed-3.png",
    ]
    assert len({Path(digits_run, "pictures", Path(one).name).read_bytes() for one in told}) == 3


def test_a_class_that_is_no_file_name_is_part_of_one() -> None:
    assert samples._name_of("a/b c", 1.0, 0) == "sample-label-a_b_c.png"


def test_numbers_of_images_and_of_vectors(digits_run: Path, here: Here) -> None:
    here("sample", str(digits_run), "-n", "6", "--out", "new/x.npy")
    found = np.load(here.folder / "new" / "x.npy")
    assert (found.shape, found.dtype) == ((6, 1, 8, 8), np.float32)
    assert 0 <= found.min() < found.max() <= 1
    vectors = torch.randn(5, 63, 1, 1)
    samples._write(samples.Sheet(vectors, None, ""), here.folder / "v.npy", None)
    np.testing.assert_array_equal(np.load(here.folder / "v.npy"), vectors.flatten(1).numpy())


def test_another_ending_is_refused(digits_run: Path, here: Here) -> None:
    _, error = here("sample", str(digits_run), "--out", "x.txt", code=2)
    assert "must end in .png or .npy" in error


def test_titles_say_what_is_shown(
    digits_run: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipe, step, settings; of paths the direction; the picture is wide and white above."""
    told: list[str] = []

    def noted(picture: np.ndarray, title: str = "", *text: object) -> np.ndarray:
        told.append(title)
        return lettered(picture, title)

    monkeypatch.setattr("genlab.drawing.lettering.lettered", noted)
    words = ["sample", "--temperature", "0.5", "--seed", "3"], ["reconstruct"], ["interpolate"]
    for number, (command, *more) in enumerate(words):
        here(command, str(digits_run), *more, "-n", "4", "--out", f"{number}.png")
    assert told == [
        "vae/digits, step 40: samples, temperature 0.5, seed 3",
        "vae/digits, step 40: test images, each above its reconstruction",
        "vae/digits, step 40: paths between test images, left to right",
    ]
    sheet = np.asarray(Image.open(here.folder / "1.png"))
    assert (sheet[0] == 255).all()
    assert (sheet[:16] < 100).any()  # letters


def test_reconstructed_images_are_spread_over_the_test_split(digits_run: Path) -> None:
    _, _, data, image, label = samples._test_images(str(digits_run), 10)
    every = torch.cat([batch["image"] for batch in map(data.to_device, data.test_dataloader())])
    places = [int((every - one).abs().flatten(1).sum(1).argmin()) for one in image]
    assert len(image) == len(label) == 10
    assert places == sorted(places)
    assert places[-1] > 0.8 * len(every)
