"""Networks in W&B's graph of artifacts: which a run started from, made, or was judged by.

A network is an artifact ``weights-<checksum>`` that holds its checksum and facts, never its
weights. Its content depends on the checksum alone: the run that made it and all that used it meet
in one artifact, wherever each of them ran, offline ones once they are uploaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genlab.checkpoints.identity import DIGITS

if TYPE_CHECKING:
    import wandb

LONGEST = 100  # characters of a name


def artifact_of(facts: Mapping[str, Any]) -> wandb.Artifact:
    """The artifact of a network, without its weights.

    Args:
        facts: see `checkpoints.identify`.
    """
    import wandb

    identity = {key: str(facts[key]) for key in ("sha256", "file") if key in facts}
    key, value = next(iter(identity.items()))  # a file alone where there is no checksum
    value = value[:DIGITS] if key == "sha256" else value
    name = re.sub(r"[^\w.-]+", "-", f"weights-{value}")[:LONGEST]
    found = wandb.Artifact(name, type="model", metadata=json.loads(json.dumps(dict(facts))))
    with found.new_file("identity.json") as file:
        file.write(json.dumps({key: value}) + "\n")
    return found
