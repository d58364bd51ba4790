"""Images of a run on a page: WebP in the page itself, within a number of bytes."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from PIL import Image, ImageSequence, UnidentifiedImageError

from genlab import run_files
from genlab.experiments.reports.blocks import Frame, Images

STEP = re.compile(r"(?P<kind>.+)-(?P<step>\d{6,})")
MOST = 24  # images of one kind
WIDEST = 1600  # pixels
FILM_FRAMES = 60
ENDINGS = (".png", ".gif", ".webp", ".jpg", ".jpeg")


def of_run(run: Path, budget: int) -> list[Images]:
    """Every kind of image in a run's ``pictures/``, in order of its name.

    Args:
        run: the run's directory.
        budget: bytes that all may take together; beyond it kinds have fewer images.
    """
    kinds = by_kind(run / "pictures")
    found, share = [], budget // max(len(kinds), 1)
    for kind, files in kinds.items():
        frames = within(files, share)
        if frames:
            text = meaning(next(iter(files.values())))
            found.append(Images(kind.replace("_", " "), frames, text))
    return found


def meaning(file: Path) -> str:
    """Description of an image by the list of a run's files; empty for an unknown one."""
    known = run_files.find(PurePath("pictures") / file.name)
    return "" if known is None else known.text


def by_kind(folder: Path) -> dict[str, dict[str, Path]]:
    """Files of each kind by the label of each, steps ascending."""
    kinds: dict[str, dict[str, Path]] = {}
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in ENDINGS)
    for file in files:
        step = STEP.fullmatch(file.stem)
        kind = step["kind"] if step else file.stem
        label = f"step {int(step['step']):,}" if step else ""
        kinds.setdefault(kind, {})[label] = file
    return kinds


def within(files: dict[str, Path], budget: int) -> list[Frame]:
    """Images of one kind, the last and others evenly spaced, as many as fit into a budget."""
    made: dict[Path, Frame | None] = {}  # each is encoded once
    for count in (MOST, MOST // 2, MOST // 4, 2, 1):
        chosen = spaced(list(files.items()), count)
        made |= {file: frame(file, label) for label, file in chosen if file not in made}
        frames = [one for _, file in chosen if (one := made[file])]
        if sum(len(one.source) for one in frames) <= budget or count == 1:
            return frames
    return []


def spaced(files: Sequence[tuple[str, Path]], count: int) -> list[tuple[str, Path]]:
    """At most ``count`` of the files, evenly spaced, the last among them."""
    if len(files) <= count:
        return list(files)
    last = len(files) - 1
    places = [round(last * k / (count - 1)) for k in range(count)] if count > 1 else [last]
    return [files[place] for place in dict.fromkeys(places)]


def frame(file: Path, label: str = "") -> Frame | None:
    """One image file; None for one that cannot be read."""
    try:
        with Image.open(file) as opened:
            content, width, height = (
                _film(opened) if getattr(opened, "n_frames", 1) > 1 else _still(opened)
            )
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
        return None
    source = "data:image/webp;base64," + base64.b64encode(content).decode()
    return Frame(label, source, width, height)


def _still(image: Image.Image) -> tuple[bytes, int, int]:
    image = _fitted(image.convert("RGB"))
    choices = []
    for options in ({"quality": 82, "method": 4}, {"lossless": True, "quality": 60, "method": 3}):
        stream = io.BytesIO()
        image.save(stream, "WEBP", **options)
        choices.append(stream.getvalue())
    return min(choices, key=len), *image.size


def _film(film: Image.Image) -> tuple[bytes, int, int]:
    every = max(1, -(-getattr(film, "n_frames", 1) // FILM_FRAMES))
    kept = [
        _fitted(one.convert("RGB"))
        for k, one in enumerate(ImageSequence.Iterator(film)) if k % every == 0
    ]  # fmt: skip
    stream = io.BytesIO()
    pause = int(film.info.get("duration", 120)) * every
    kept[0].save(
        stream, "WEBP", save_all=True, append_images=kept[1:], duration=pause, loop=0, quality=75
    )
    return stream.getvalue(), *kept[0].size


def _fitted(image: Image.Image) -> Image.Image:
    if image.width <= WIDEST:
        return image
    return image.resize((WIDEST, round(image.height * WIDEST / image.width)))
