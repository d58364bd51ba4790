"""Images of the methods' pages and films of the README, drawn by training: `make docs-pictures`.

Each is a file of a run directory, as WebP of at most 60 kB in ``docs/images``. Half an hour on two
CPU cores draws all; ``python -m docs.builder.pictures vae glow`` those of two pages.
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

IMAGES = ROOT / "docs" / "images"
PLACE = IMAGES / "methods"
README = "README"
STRIP = {"wgan_gp/eight_gaussians": "film.webp", "wgan_gp/mnist_conditional": "digits.webp"}
LARGEST = 60_000  # bytes
SIDE = 560  # pixels


def film(every_n_steps: int, count: int) -> list[dict[str, Any]]:
    """A film of training as a recipe's callback."""
    return [{"class_path": "Film", "init_args": {"every_n_steps": every_n_steps, "count": count}}]


@dataclass(frozen=True)
class Drawing:
    """An image of a method's page.

    Args:
        page: the page, a module of ``genlab/methods``, or `README`.
        recipe: recipe that is trained.
        file: pattern of files in the run's ``pictures/``, the last of which is taken.
        caption: text below it.
        settings: values over the recipe's.
        encoder: recipe whose trained encoder the recipe takes as ``model.pretrained``.
        side: most pixels of a side.
    """

    page: str
    recipe: str
    file: str
    caption: str
    settings: dict[str, Any] = field(default_factory=dict)
    encoder: str = ""
    side: int = SIDE

    @property
    def target(self) -> Path:
        """The file on the site."""
        name = re.split(r"\W", self.file)[0]
        if self.page == README:
            return IMAGES / STRIP[self.recipe]
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
    Drawing("masked_prior", "masked_prior/digits", SAMPLES, "samples, a row for each class"),
    Drawing("vqgan", "vqgan/digits", COPIES, "images and reconstructions"),
    Drawing("nice", "nice/digits", SAMPLES, "samples"),
    Drawing("realnvp", "realnvp/digits", SAMPLES, "samples"),
    Drawing("glow", "glow/digits", SAMPLES, "samples, a row for each class"),
    Drawing("glow", "glow/two_moons", "plane-*.png", "data, samples and density"),
    Drawing("flow_matching", "flow_matching/digits", SAMPLES, "samples"),
    Drawing("flow_matching", "flow_matching/eight_gaussians", "plane-*.png",
            "data, samples and density"),
    Drawing("diffusion", "diffusion/digits", SAMPLES, "samples"),
    Drawing("wgan_gp", "wgan_gp/digits", "film.gif", "training",
            {"trainer.callbacks+": film(60, 36)}),
    Drawing("wgan_gp", "wgan_gp/two_moons", "plane-*.png", "data and samples"),
    Drawing("ogan", "ogan/digits", SAMPLES, "samples"),
    Drawing("ogan", "ogan/digits", COPIES, "images and reconstructions"),
    Drawing("cvae_gan", "cvae_gan/digits", SAMPLES, "samples, a row for each class"),
    Drawing("simclr", "simclr/digits", "views.png", "views of the same images"),
    Drawing("simclr", "simclr/digits", FEATURES, TEST_FEATURES),
    Drawing("moco", "moco/digits", FEATURES, TEST_FEATURES),
    Drawing("moco_v3", "moco_v3/digits", FEATURES, TEST_FEATURES),
    Drawing("byol", "byol/digits", FEATURES, TEST_FEATURES),
    Drawing("simsiam", "simsiam/digits", FEATURES, TEST_FEATURES),
    Drawing("barlow_twins", "barlow_twins/digits", FEATURES, TEST_FEATURES),
    Drawing("vicreg", "vicreg/digits", FEATURES, TEST_FEATURES),
    Drawing("swav", "swav/digits", FEATURES, TEST_FEATURES),
    Drawing("dino", "dino/digits", FEATURES, TEST_FEATURES),
    Drawing("dinov2", "dinov2/digits", FEATURES, TEST_FEATURES),
    Drawing("rotation", "rotation/digits", FEATURES, TEST_FEATURES),
    Drawing("fixmatch", "fixmatch/digits", FEATURES, TEST_FEATURES),
    Drawing("classifier", "classifier/digits", "confusion*.png", "confusion matrix of the test"),
    Drawing("linear", "linear/digits", "confusion*.png", "confusion matrix of the test, on the "
            "encoder of simclr/digits", encoder="simclr/digits"),
    Drawing("knn", "knn/digits", FEATURES, "what the neighbours are sought in: " + TEST_FEATURES
            + ", of simclr/digits", encoder="simclr/digits"),
    Drawing(README, "wgan_gp/eight_gaussians", "film.gif", "A WGAN-GP learns eight Gaussians"),
    Drawing(README, "wgan_gp/mnist_conditional", "film.gif", "A conditional WGAN-GP learns MNIST",
            {"trainer.max_steps": 1200, "trainer.callbacks": film(150, 50)}, side=291),
)  # fmt: skip


def draw(pages: Iterable[str]) -> None:
    """Train the recipes of some pages, or of all, and write their images."""
    wanted = set(pages) or {drawing.page for drawing in DRAWINGS}
    chosen = [drawing for drawing in DRAWINGS if drawing.page in wanted]
    if any(drawing.page in ("vq_prior", "masked_prior") for drawing in chosen):
        wanted.add("vqvae")  # whose codes it learns
        chosen = [drawing for drawing in DRAWINGS if drawing.page in wanted]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        done: dict[str, Path] = {}
        for drawing in chosen:
            _train(drawing, done)
            found = sorted((done[drawing.recipe] / "pictures").glob(drawing.file))
            size = shrink(found[-1], drawing.target, drawing.side)
            print(drawing.target.relative_to(ROOT), size, flush=True)


def _train(drawing: Drawing, done: dict[str, Path]) -> None:
    """Train a recipe, and its encoder before it, unless they are among the runs that are done."""
    import genlab

    if drawing.recipe in done:
        return
    settings = {"track.wandb": "off", **drawing.settings}
    if drawing.encoder:
        _train(next(one for one in DRAWINGS if one.recipe == drawing.encoder), done)
        settings["model.pretrained"] = str(done[drawing.encoder])
    run = genlab.fit(drawing.recipe, settings)
    if any(one.file == FEATURES and one.recipe == drawing.recipe for one in DRAWINGS):
        genlab.evaluate(run)
    done[drawing.recipe] = run.path


def shrink(source: Path, target: Path, side: int = SIDE) -> int:
    """Write an image or film as WebP of at most `LARGEST` bytes; returns the number.

    Raises:
        ValueError: it cannot be that small.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        frames = [_scaled(frame.convert("RGB"), side) for frame in ImageSequence.Iterator(image)]
    for quality in (90, 75, 60, 45, 30):
        _write(frames, target, quality)
        if (size := target.stat().st_size) <= LARGEST:
            return size
        frames = frames[::2] + frames[-1:] if len(frames) > 12 else frames
    raise ValueError(f"{source.name} has {size:,} bytes as WebP, above {LARGEST:,}")


def _scaled(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
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
