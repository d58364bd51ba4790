"""The fingerprint of a run: of each of its starts, and of all together.

A start has the fingerprint of the run's recipe.yaml (see `recipes.fingerprints`) with the code and
versions of that day. A resume with nothing changed has the same one again. Where a resume brings
other settings, code or versions, the run is no longer the run of either: its own fingerprint is
then a hash of the list of fingerprints, each with the step from which it holds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genlab import runs
from genlab.recipes import fingerprints
from genlab.recipes.kept_fingerprints import Kept

if TYPE_CHECKING:
    from genlab.training.building import Lab

KEY = "fingerprint"
UNKNOWN = ""  # of steps that a version of genlab without fingerprints made


def of_start(lab: Lab, parents: dict[str, Any]) -> str:
    """The fingerprint of the training that starts now.

    Args:
        lab: objects of the recipe, classes pinned.
        parents: facts of the networks that it starts from.
    """
    kept, spelt = Kept(), replace(lab.recipe, config=lab.config)
    found = kept.of_recipe(fingerprints.of_run(spelt, parents))
    kept.save()
    return found


def segments(history: list[Any]) -> list[tuple[int, str]]:
    """Fingerprints by the step from which each holds, of the starts that a run.json tells of.

    What a start trained beyond the checkpoint from which the next one continues is lost, and its
    fingerprint with it.
    """
    found: list[tuple[int, str]] = []
    for start in history:
        given = start if isinstance(start, dict) else {}
        step, own = runs.whole_number(given.get("step")), str(given.get(KEY) or UNKNOWN)
        found = [one for one in found if one[0] < step]
        if step and not found:
            found = [(0, UNKNOWN)]
        if not found or found[-1][1] != own:
            found.append((step, own))
    return found


def of_history(history: list[Any]) -> str:
    """The fingerprint of a run: its starts' where they have one, else a hash of the list."""
    parts = segments(history)
    if len(parts) == 1:
        return parts[0][1]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
