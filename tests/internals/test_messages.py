"""What other libraries say today is understood: each text comes from the library itself."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn
from torchvision import datasets

from genlab.internals import messages


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The error that a call ends with."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, its text matters
        function(*args, **kwargs)
    return caught.value


def test_unknown_argument() -> None:
    assert messages.unknown_argument(call(nn.Linear, 1, 1, width=2)) == ("width", False)
    error = call(lambda **given: nn.Linear(in_features=1, **given), in_features=2)
    assert messages.unknown_argument(error) == ("in_features", True)
    assert messages.unknown_argument(call(nn.Linear)) is None


def test_union_reason() -> None:
    class Refusing:
        def __init__(self, decay: float) -> None:
            raise ValueError(f"decay {decay} is too large")

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--a", type=Refusing | list[Refusing] | None)
    given = {"class_path": f"{__name__}.Refusing", "init_args": {"decay": 2.0}}
    globals()["Refusing"] = Refusing
    parsed = parser.parse_object({"a": [given]})
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes
    assert messages.union_reason(call(make, parsed)) == "decay 2.0 is too large"
    assert messages.union_reason(ValueError("Errors:\n  - x")) is None


def test_unknown_option() -> None:
    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise ValueError(message)

    parser = Parser()
    parser.add_argument("--steps", type=int)
    assert messages.unknown_option(str(call(parser.parse_args, ["--stps=3", "x"]))) == "--stps"
    assert messages.unknown_option(str(call(parser.parse_args, ["--steps", "x"]))) is None
    assert messages.unknown_option(str(call(parser.parse_args, [" "]))) == "' '"


def test_out_of_memory() -> None:
    found = messages.out_of_memory(call(torch.zeros, 10**15))
    assert found is not None
    assert found.startswith("can't allocate memory: you tried to allocate 4000000000000000 bytes")
    assert messages.out_of_memory(MemoryError("no room")) == "no room"
    assert messages.out_of_memory(call(torch.zeros, -1)) is None


class Trick:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def refusal(content: Any) -> Any:
    file = BytesIO()
    torch.save(content, file)
    file.seek(0)
    return call(torch.load, file, weights_only=True)


def test_refused_global_and_load_reason() -> None:
    error = refusal(Trick(os.system, ("true",)))
    assert isinstance(error, pickle.UnpicklingError)
    assert messages.refused_global(error) == f"{os.system.__module__}.system"
    assert "Weights only load failed" in str(error)
    assert messages.refused_global(refusal(Trick(getattr, ("a", "upper")))) is not None
    call_of_one = call(torch.load, BytesIO(b"\x80\x02K\x01)R."), weights_only=True)
    assert messages.refused_global(call_of_one) == "a call of a function"
    torn = call(torch.load, BytesIO(b"\x80\x02garbage"), weights_only=True)
    assert messages.refused_global(torn) is None
    assert "Weights only load failed" in str(torn)
    assert messages.load_reason(torn) == "Unsupported operand 103"


def test_mismatch() -> None:
    error = call(nn.Linear(2, 2).load_state_dict, nn.Linear(3, 2).state_dict())
    assert messages.mismatch(error).startswith("size mismatch for weight")


def test_says_not_found(tmp_path: Path) -> None:
    assert messages.says_not_found(call(datasets.MNIST, str(tmp_path)))
    assert messages.says_not_found(call(datasets.CIFAR10, str(tmp_path)))
    assert messages.says_not_found(FileNotFoundError(2, "No such file"))
    assert not messages.says_not_found(RuntimeError("file is damaged"))


def test_sync_failure() -> None:
    """As wandb 0.31.0 writes it; a server to ask is not there."""
    output = "wandb: Syncing 1 run(s)\nwandb: ERROR permission denied\nwandb: done\n"
    assert messages.sync_failure(output) == "ERROR permission denied"
    assert messages.sync_failure("wandb: done\n") == "done"
    assert messages.sync_failure("") == "wandb sync said nothing"


def test_without_stream() -> None:
    error = call(Image.open, BytesIO(b"no picture"))
    assert "BytesIO" in str(error)
    assert messages.without_stream(error) == "cannot identify image file"


def test_disk_error_of_safetensors(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError) as error:
        save_file({"w": torch.ones(3)}, tmp_path / "nowhere" / "model.safetensors")
    found = messages.disk_error(error.value)
    assert found is not None
    assert found.errno == errno.ENOENT
    assert messages.disk_error(ValueError("no number")) is None


def test_lost_peer() -> None:
    from torch.distributed import DistNetworkError, DistStoreError

    gloo = "[/x/third_party/gloo/gloo/transport/tcp/pair.cc:561] "
    for text, how in {
        f"{gloo}Connection closed by peer [127.0.0.1]:18851": "gone",
        f"{gloo}Timed out waiting 20000ms for recv operation to complete": "silent",
        "mat1 and mat2 shapes cannot be multiplied": None,
    }.items():
        assert messages.lost_peer(RuntimeError(text)) == how
    late = DistStoreError("Timed out after 31 seconds waiting for clients. 1/2 clients joined.")
    assert messages.lost_peer(late) == "absent"
    assert messages.lost_peer(DistNetworkError("failed to recv, got 0 bytes")) == "gone"
    assert messages.lost_peer(ArithmeticError("gloo")) is None
