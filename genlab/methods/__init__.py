"""Methods: one LightningModule a file; the list of files is the list of methods."""

from __future__ import annotations

from typing import Any

from genlab import faces


def __getattr__(name: str) -> Any:
    return faces.member(__name__, name)


def __dir__() -> list[str]:
    return faces.names(__name__)
