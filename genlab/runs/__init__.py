"""Run directories: name, make, find, lock and describe them. Imports no torch.

``runs/<recipe>/<run id>/`` contains ``recipe.yaml``, ``run.json``, ``checkpoints/``,
``metrics.csv``, ``metrics.json``, ``pictures/`` and ``wandb/``. One directory belongs to one run.

`directories` names, makes and removes them, `locks` says who trains in one, `finding` finds those
that a name means, `checkpoint_files` the checkpoint in them; `json_files` reads and writes facts.

The registry loads on its own: `registry` lists all runs, each a row of `rows` with its `settings`,
from an `index` next to them. `selection` selects by names and by the grammar of `conditions`,
`differences` compares two, `sizes` counts bytes of `folders`; `removal` and `archives` clear them
away, and `limits` their links.
"""

from genlab.runs.checkpoint_files import checkpoint, checkpoints, newest, whole
from genlab.runs.directories import (
    FOLDERS,
    RUN_VARIABLE,
    directory,
    drop_empty,
    drop_empty_folders,
    make,
    picture,
    remove,
    sweep,
)
from genlab.runs.finding import every, find, is_run
from genlab.runs.json_files import read_json, whole_number, write_json
from genlab.runs.locks import held, lock

__all__ = [
    "FOLDERS",
    "RUN_VARIABLE",
    "checkpoint",
    "checkpoints",
    "directory",
    "drop_empty",
    "drop_empty_folders",
    "every",
    "find",
    "held",
    "is_run",
    "lock",
    "make",
    "newest",
    "picture",
    "read_json",
    "remove",
    "sweep",
    "whole",
    "whole_number",
    "write_json",
]
