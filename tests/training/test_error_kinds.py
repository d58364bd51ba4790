"""What an error in training is to the user."""

from __future__ import annotations

from pathlib import Path

import lightning as L

import genlab
from genlab.data.errors import BrokenDataError
from genlab.training.error_kinds import Kind, kind_of


def test_an_error_in_training_is_of_one_kind(tmp_path: Path) -> None:
    def raised(error: Exception, file: str) -> Exception:
        try:
            exec(compile("raise error", file, "exec"), {"error": error})
        except Exception as found:
            return found
        raise AssertionError

    ours = str(Path(genlab.__file__).parent / "methods" / "x.py")
    stopping = str(Path(L.__file__).parent / "callbacks" / "early_stopping.py")
    kinds = {
        (ValueError, ours, False): Kind.REFUSED,
        (ValueError, ours, True): Kind.OTHER,
        (RuntimeError, stopping, True): Kind.REFUSED,
        (KeyError, ours, False): Kind.OTHER,
        (ValueError, "x/train.py", False): Kind.OTHER,
        (OSError, ours, True): Kind.LOST,
        (BrokenDataError, "x/train.py", True): Kind.LOST,
    }
    for (kind, file, late), expected in kinds.items():
        assert kind_of(raised(kind("no"), file), tmp_path, late) is expected, (kind, file, late)
    assert kind_of(raised(ValueError("no"), ours), tmp_path / "gone", False) is Kind.OTHER
