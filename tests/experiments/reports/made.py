"""Runs made by hand, for pages without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

STEPS = (100, 200, 300)


def picture(file: Path, shade: int, size: tuple[int, int] = (64, 48)) -> None:
    """A picture of one shade with a square in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0]), shade, dtype=np.uint8)
    pixels[4:12, 4:12] = 255 - shade
    Image.fromarray(pixels).save(file)


def run(
    place: Path, seed: int = 0, rows: int = 30, recipe: str = "vae/digits", pictures: bool = True,
    **model: Any,
) -> Path:  # fmt: skip
    """A finished run of a VAE: curves, images at three steps, a film, facts."""
    place.mkdir(parents=True)
    settings = {
        "seed_everything": seed,
        "model": {"class_path": "genlab.methods.vae.VAE", "init_args": {"latent_dim": 8} | model},
        "data": {"class_path": "genlab.data.digits.Digits", "init_args": {"batch_size": 64}},
        "trainer": {"max_epochs": 5},
        "checkpoint": {"monitor": "val/loss", "mode": "min"},
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(settings))
    facts = {
        "recipe": recipe, "seed": seed, "started": "2026-12-01T10:00:00+0000", "device": "cpu",
        "command": ["fit", recipe, "model.latent_dim=8"], "world_size": 1,
        "history": [
            {"time": "2026-12-01T10:00:00+0000", "step": 0, "command": ["fit"], "changes": {}},
            {"time": "2026-12-01T11:00:00+0000", "step": 100, "command": ["fit"],
             "changes": {"trainer.max_epochs": [3, 5]}},
        ],
        "versions": {"torch": "2.15.0"},
    }  # fmt: skip
    (place / "run.json").write_text(json.dumps(facts))
    generator = np.random.default_rng(seed)
    losses = 30 / np.sqrt(np.arange(1, rows + 1)) + generator.random(rows)
    lines = ["step,train/loss,train/images_per_second,val/loss"]
    for k, loss in enumerate(losses):
        lines.append(f"{k},{loss:.6g},{1000 + k % 7}," + (f"{loss + 1:.6g}" if k % 10 == 9 else ""))
    (place / "metrics.csv").write_text("\n".join(lines) + "\n")
    final = {
        "step": rows, "val/loss": float(losses[-1] + 1), "best/val/loss": float(losses[-1] + 1),
        "test/loss": float(losses[-1] + 1.5), "fit_seconds": 3725.0,
    }  # fmt: skip
    (place / "metrics.json").write_text(json.dumps(final))
    if pictures:
        for k, step in enumerate(STEPS):
            picture(place / f"pictures/samples-{step:08d}.png", 60 * k)
        picture(place / "pictures/confusion.png", 90)
        frames = [Image.new("L", (32, 32), 40 * k) for k in range(4)]
        frames[0].save(
            place / "pictures/film.gif", save_all=True, append_images=frames[1:], duration=80
        )
    return place
