"""genlab: a lab for learning from images with few or no labels.

`recipes` finds recipes and says what a setting means; `training` trains one, `experiments` many;
`planning` says before what a training needs on GPUs. `cli` is the command line, `describing`
explains every name from docstrings. `data` makes batches and turns them into views (by `augment`).
`methods` learn from these with `networks`, `losses` and `optim`; `callbacks` and `metrics` watch;
`evaluation` measures a run, `drawing` draws. In `checkpoints` files are read safely, imported and
exported. `runs` makes, finds and locks run directories. `cluster` submits to Slurm and handles its
signals. `testing` has the laws that every method obeys, `internals` the private parts of other
libraries. Modules: `run_files` (files of a run), `files`, `faces`, `contracts`, `distributed`,
`process`, `errors`.

Importing genlab imports nothing heavy: the public names below load on first use (PEP 562).
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from genlab import augment, callbacks, data, losses, methods, metrics, networks, optim
    from genlab.checkpoints import load
    from genlab.errors import InputError
    from genlab.experiments.measurement import evaluate
    from genlab.training.session import Run, fit, recipe

__version__ = "0.1.0"
_FUNCTIONS = {  # and the module of each
    "InputError": "errors",
    "Run": "training.session",
    "evaluate": "experiments.measurement",
    "fit": "training.session",
    "load": "checkpoints",
    "recipe": "training.session",
}
__all__ = [
    "InputError",
    "Run",
    "__version__",
    "augment",
    "callbacks",
    "data",
    "evaluate",
    "fit",
    "load",
    "losses",
    "methods",
    "metrics",
    "networks",
    "optim",
    "recipe",
]


def __getattr__(name: str) -> _typing.Any:
    if name in _FUNCTIONS:
        return getattr(_importlib.import_module(f"genlab.{_FUNCTIONS[name]}"), name)
    if name in __all__:
        return _importlib.import_module(f"genlab.{name}")
    raise AttributeError(f"module 'genlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
