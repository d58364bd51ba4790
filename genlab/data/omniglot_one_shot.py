"""The official one-shot test of Omniglot, which names twenty characters of twenty."""

from __future__ import annotations

from pathlib import Path

import torch

from genlab.contracts import Episodes
from genlab.data.errors import BrokenDataError
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source
from genlab.data.omniglot import RUNS, TRIALS, WAYS, Drawings

TABLE = "class_labels.txt"


class OmniglotOneShot(Drawings):
    """The official test of Omniglot: 20 runs of 20-way one-shot classification.

    A run has 20 characters of one of ten alphabets that no background set has, each drawn once by
    one person (``train``) and once by another (``test``). Runs 1 and 2, 3 and 4 ... have the same
    characters in the same order, drawn by others. Labels are characters, 0 to 199.
    ``genlab evaluate RUN data=OmniglotOneShot`` measures a run's features by it.

    Args:
        **kwargs: arguments of `Drawings`.

    Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350; the folders of their all_runs.zip.
    """

    num_classes = TRIALS // 2 * WAYS

    def folders(self) -> list[str]:
        """Name of the folder of runs."""
        return [RUNS]

    def sources(self) -> dict[str, Source]:
        """Each run's drawings to learn from and to classify; no validation images."""
        shown, asked, answer = list[Path](), list[Path](), list[int]()
        for run in sorted(self.checked()[0].glob("run*")):
            pairs = _pairs(run)
            known = sorted({one for _, one in pairs})
            if len(known) != WAYS or len(pairs) != WAYS:
                raise BrokenDataError(f"{run / TABLE} names {len(known)} characters, not {WAYS}")
            shown, asked = [*shown, *known], [*asked, *(one for one, _ in pairs)]
            answer += [known.index(one) for _, one in pairs]
        self._answer = torch.tensor(answer).view(-1, WAYS)
        character = torch.arange(WAYS) + WAYS * (torch.arange(len(self._answer)) // 2)[:, None]
        label = {"train": character, "test": character.gather(1, self._answer)}
        found: dict[str, Source] = {}
        for part, files in (("train", shown), ("test", asked)):
            pictures = Pictures(self.read(files), label[part].flatten())
            shape = (1, self.image_size, self.image_size)
            pictures.check(f"{type(self).__name__} {part}", shape, self.num_classes)
            found |= {part: pictures, "val": pictures.subset(torch.arange(0))}
        return found

    def episodes(self, split: str) -> Episodes | None:
        """The official runs for ``test``; None for other splits."""
        self.setup()
        if split != "test":
            return None
        rows = torch.arange(self._answer.numel()).view(-1, WAYS)
        return Episodes(rows, rows, self._answer, "train", "test")


def _pairs(run: Path) -> list[tuple[Path, Path]]:
    """A run's drawings to classify, each with the one of the same character.

    Raises:
        BrokenDataError: no table of them, or one that names no pairs.
    """
    table = run / TABLE
    try:
        lines = [line.split() for line in table.read_text(encoding="utf-8").splitlines() if line]
        return [(run.parent / asked, run.parent / shown) for asked, shown in lines]
    except (OSError, ValueError) as error:
        raise BrokenDataError(f"{table} cannot be read: {error}") from None
