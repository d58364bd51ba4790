"""The limit over links, captures and archives of all runs, at the end of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genlab import cli
from genlab.errors import InputError
from genlab.runs.sizes import size_of
from genlab.training import session


def fit(folder: Path, **track: Any) -> Path:
    settings = {"track.runs": str(folder), "track.wandb": "off", "track.test_after_fit": False,
                "trainer.max_steps": 6, "trainer.accelerator": "cpu"}  # fmt: skip
    return session.fit("vae/digits", settings | {f"track.{k}": v for k, v in track.items()}).path


def test_a_training_that_ends_removes_the_oldest_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fit(tmp_path, links=2)
    size = size_of(first / "links")
    second = fit(tmp_path, links=2, keep_gb=1.5 * size / 1e9)
    assert f"removed for track.keep_gb={1.5 * size / 1e9:g}: {first / 'links'}\n" in (
        capsys.readouterr().err
    )
    assert not (first / "links").exists()
    assert (first / "checkpoints" / "last.ckpt").is_file()
    assert size_of(second / "links") == pytest.approx(size, rel=0.05)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"track\.keep_gb must be above 0"):
        cli.run(["fit", "vae/digits", "track.keep_gb=0"])
