"""What is said of a run whose steps cannot be trained again."""

from __future__ import annotations

import shutil
from pathlib import Path

from genlab.training.verify import verify


def test_links_that_a_recipe_asks_for_and_that_are_gone_are_told(
    digits_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(digits_run, tmp_path / "run"))
    recipe = run / "recipe.yaml"
    written = recipe.read_text()
    assert "track: {" in written
    assert any("the run keeps no links" in line for line in verify(run).unproved)
    recipe.write_text(written.replace("track: {", "track: {links: 5, "))
    assert any("asks for 5 links, and links/ is gone" in line for line in verify(run).unproved)
