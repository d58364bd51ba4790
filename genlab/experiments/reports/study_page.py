"""The page of a study by its name: of one question, or a table of methods."""

from __future__ import annotations

from pathlib import Path

from genlab.experiments.arms import question_files
from genlab.experiments.arms.results import Results
from genlab.experiments.reports import question_page, table_page
from genlab.experiments.reports.blocks import Report
from genlab.experiments.studies import table as tables
from genlab.experiments.studies.cells import Cells


def page(name: str, root: Path, known: Path | None) -> Report | None:
    """The page of a study; None where the name is none's.

    Args:
        name: name of a shipped study, or file of one.
        root: folder of all run directories.
        known: folder of results that stand next to pages; None for none.
    """
    if (file := question_files.meant(name)) is not None:
        return question_page.page(Results(question_files.read(file), root, known))
    if name in tables.shipped():
        return table_page.page(Cells(tables.read(name), root, known))
    return None
