"""Private and undocumented parts of other libraries, each as a named function with its reason.

Nothing else in genlab may use such parts (ruff's SLF001): `lightning_parts`, `lightning_loops`,
`lightning_state`, `lightning_launch`, `torch_parts`, `timm_parts`, `metric_parts`, `wandb_parts`,
`mlflow_parts` and `python_parts` contain names, `messages` texts of errors that are parsed. Every
function has a test that fails when the part changes. Seen with lightning 2.6.6, torchmetrics 1.9.0,
torch 2.15.0, torchvision 0.29.2, timm 1.0.31, wandb 0.31.0, mlflow 3.17.2 and Python 3.11.
"""

from importlib import metadata

from genlab.errors import InputError


def missing(library: str, name: str) -> InputError:
    """The error for a part that the installed version of a library does not have."""
    return InputError(
        f"{library} {metadata.version(library)} is not supported: it has no {name}\n"
        "constraints.txt lists the versions that genlab was tested with"
    )
