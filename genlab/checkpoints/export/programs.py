"""Export as a program for plain torch (``.pt2``) or ONNX, usable without genlab and timm."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from genlab.checkpoints.export.timm_folder import Parts
from genlab.errors import CheckpointError
from genlab.files import rewriting

TOLERANCE = 1e-4  # between torch and onnxruntime, relative and absolute
ONNX_NEEDS = ("onnx", "onnxscript")


class Program(nn.Module):
    """Image (B, C, H, W) in [0, 1] -> features (B, F), and logits (B, K) where there is a head.

    The normalisation of the image is part of it.

    Args:
        encoder: image -> features.
        head: features -> logits, or None.
    """

    def __init__(self, encoder: nn.Module, head: nn.Linear | None) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Features, and logits if any."""
        features = self.encoder(image)
        return (features,) if self.head is None else (features, self.head(features))


def write_torch(parts: Parts, folder: Path, program: Program) -> None:
    """``model.safetensors`` for ``pretrained=FOLDER``, and ``model.pt2`` for `torch.export.load`.

    ``config.json`` says how genlab builds the network; a linear head lies in ``head.safetensors``.

    Args:
        parts: parts to write; the weights are those of its encoder.
        folder: target folder.
        program: program to trace, of the same parts, perhaps with batch norms folded.
    """
    save_file(_tensors(parts.encoder.backbone), folder / "model.safetensors")
    if parts.head is not None:
        save_file(_tensors(parts.head), folder / "head.safetensors")
    with _quiet():
        made = _traced(parts, program)
        with rewriting(folder / "model.pt2") as file:
            torch.export.save(made, file)
    _write_config(parts, folder)


def write_onnx(parts: Parts, folder: Path, program: Program) -> bool:
    """``model.onnx``: ``image``, of any batch size -> ``features`` (and ``logits``).

    Returns:
        True if onnxruntime is installed and gives the same metrics to 1e-4.

    Raises:
        CheckpointError: onnx or onnxscript is missing, or the metrics differ.
    """
    check_onnx()
    names = ["features"] if parts.head is None else ["features", "logits"]
    with _quiet():
        made: Any = torch.onnx.export(
            _traced(parts, program),
            dynamo=True,
            input_names=["image"],
            output_names=names,
            verbose=False,
        )
        made.save(str(folder / "model.onnx"))
    _write_config(parts, folder)
    return _same_in_onnxruntime(parts, folder / "model.onnx", program)


def check_onnx() -> None:
    """True if ONNX files can be written here.

    Raises:
        CheckpointError: what is to be installed.
    """
    missing = [name for name in ONNX_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(f"ONNX needs {' and '.join(missing)}: pip install 'genlab[onnx]'")


def _same_in_onnxruntime(parts: Parts, file: Path, program: Program) -> bool:
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    runtime: Any = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    image = parts.example(3)
    with torch.no_grad():
        expected = program(image)
    for found, wanted in zip(session.run(None, {"image": image.numpy()}), expected, strict=True):
        if not torch.allclose(torch.from_numpy(found), wanted, rtol=TOLERANCE, atol=TOLERANCE):
            raise CheckpointError(f"onnxruntime gives other metrics for {parts.name} than torch")
    return True


def _traced(parts: Parts, program: Program) -> torch.export.ExportedProgram:
    """The program as a graph that takes any batch size."""
    shapes = {"image": {0: torch.export.Dim.DYNAMIC}}
    with torch.no_grad():
        return torch.export.export(program.eval(), (parts.example(),), dynamic_shapes=shapes)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """A state dict whose tensors share no memory: safetensors refuses those that do."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }


def _write_config(parts: Parts, folder: Path) -> None:
    config = {
        "architecture": parts.name,
        "stem": parts.encoder.architecture["stem"],
        "model_args": parts.encoder.architecture["kwargs"],
        "num_classes": parts.num_classes,
        "num_features": parts.encoder.out_dim,
        "pretrained_cfg": parts.normalisation | {"input_size": list(parts.input_size)},
        "genlab": parts.own,
    } | parts.labels
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output of torch's exporters."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
