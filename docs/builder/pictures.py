"""Images of the methods' pages, drawn by training small recipes: `make docs-pictures`.

Each is a file of a run directory, as WebP of at most 60 kB in ``docs/images/methods``. A quarter of
an hour on two CPU cores draws all; ``python -m docs.builder.pictures vae glow`` those of two pages.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from docs.builder.copies import ROOT

PLACE = ROOT / "docs" / "images" / "methods"
LARGEST = 60_000  # bytes
SIDE = 560  # pixels
FILM = [{"class_path": "Film", "init_args": {"every_n_steps": 60, "count": 36}}]


@dataclass(frozen=True)
class Drawing:
    """An image of a method's page.

    Args:
        page: the page, a module of ``genlab/methods``.
        recipe: recipe that is trained.
        file: pattern of files in the run's ``pictures/``, the last of which is taken.
        caption: text below it.
        settings: values over the recipe's.
    """

    page: str
    recipe: str
    file: str
    caption: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        """The file on the site."""
        name = re.split(r"\W", self.file)[0]
        return PLACE / f"{self.page}-{self.recipe.replace('/', '-')}-{name}.webp"


SAMPLES, COPIES, FEATURES = "samples-*.png", "reconstructions-*.png", "embedding.png"
TEST_FEATURES = "test features, two principal components"
DRAWINGS = (
    Drawing("autoencoder", "autoencoder/digits", COPIES, "test images and reconstructions"),
    Drawing("vae", "vae/digits", SAMPLES, "samples"),
    Drawing("vae", "vae/digits", COPIES, "images and reconstructions"),
    Drawing("vae", "vae/digits", FEATURES, TEST_FEATURES),
    Drawing("cvae", "cvae/digits", SAMPLES, "samples, a row for each class"),
    Drawing("vqvae", "vqvae/digits", COPIES, "images and reconstructions"),
    Drawing("vq_prior", "vq_prior/digits", SAMPLES, "samples"),
    Drawing("nice", "nice/digits", SAMPLES, "samples"),
    Drawing("realnvp", "realnvp/digits", SAMPLES, "samples"),
    Drawing("glow", "glow/digits", SAMPLES, "samples"),
    Drawing("glow", "glow/two_moons", "plane-*.png", "data, samples and density"),
    Drawing("wgan_gp", "wgan_gp/digits", "film.gif", "training", {"trainer.callbacks+": FILM}),
    Drawing("wgan_gp", "wgan_gp/two_moons", "plane-*.png", "data and samples"),
    Drawing("simclr", "simclr/digits", "views.png", "views of the same images"),
    Drawing("simclr", "simclr/digits", FEATURES, TEST_FEATURES),
    Drawing("moco", "moco/digits", FEATURES, TEST_FEATURES),
    Drawing("moco_v3", "moco_v3/digits", FEATURES, TEST_FEATURES),
    Drawing("byol", "byol/digits", FEATURES, TEST_FEATURES),
    Drawing("simsiam", "simsiam/digits", FEATURES, TEST_FEATURES),
    Drawing("barlow_twins", "barlow_twins/digits", FEATURES, TEST_FEATURES),
    Drawing("fixmatch", "fixmatch/digits", FEATURES, TEST_FEATURES),
    Drawing("classifier", "classifier/digits", "confusion*.png", "confusion matrix of the test"),
)


def draw(pages: Iterable[str]) -> None:
    """Train the recipes of some pages, or of all, and write their images."""
    wanted = set(pages) or {drawing.page for drawing in DRAWINGS}
    chosen = [drawing for drawing in DRAWINGS if drawing.page in wanted]
    if any(drawing.page == "vq_prior" for drawing in chosen):
        wanted.add("vqvae")  # whose codes it learns
        chosen = [drawing for drawing in DRAWINGS if drawing.page in wanted]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        done: dict[str, Path] = {}
        for drawing in chosen:
            if drawing.recipe not in done:
                done[drawing.recipe] = _train(drawing)
            found = sorted((done[drawing.recipe] / "pictures").glob(drawing.file))
            print(drawing.target.relative_to(ROOT), shrink(found[-1], drawing.target), flush=True)


def _train(drawing: Drawing) -> Path:
    import genlab

    run = genlab.fit(drawing.recipe, {"track.wandb": "off", **drawing.settings})
    if any(one.file == FEATURES and one.recipe == drawing.recipe for one in DRAWINGS):
        genlab.evaluate(run)
    return run.path


def shrink(source: Path, target: Path) -> int:
    """Write an image or film as WebP of at most `LARGEST` bytes; returns the number.

    Raises:
        ValueError: it cannot be that small.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        frames = [_scaled(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    for quality in (90, 75, 60, 45, 30):
        _write(frames, target, quality)
        if (size := target.stat().st_size) <= LARGEST:
            return size
        frames = frames[::2] + frames[-1:] if len(frames) > 12 else frames
    raise ValueError(f"{source.name} has {size:,} bytes as WebP, above {LARGEST:,}")


def _scaled(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    if scale >= 1:
        return image
    return image.resize([round(n * scale) for n in image.size], Image.Resampling.LANCZOS)


def _write(frames: list[Image.Image], target: Path, quality: int) -> None:
    more: dict[str, Any] = {}
    if len(frames) > 1:
        each = 4000 // len(frames)
        times = [*([each] * (len(frames) - 1)), 2000]
        more = {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
    frames[0].save(target, quality=quality, method=6, **more)


if __name__ == "__main__":
    os.environ.setdefault("WANDB_MODE", "offline")
    draw(sys.argv[1:])
