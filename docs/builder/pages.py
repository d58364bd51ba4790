"""Every generated page of the site; mkdocs runs this file."""

from __future__ import annotations

from docs.builder import methods, reference, results, studies
from docs.builder.api import PLACE, api, contents
from docs.builder.copies import COPIES, copies


def pages() -> dict[str, str]:
    """Each generated page with its text in Markdown."""
    return {
        **copies(),
        **methods.pages(),
        "results.md": results.page(),
        **studies.pages(),
        **reference.pages(),
        **api(),
        f"{PLACE}/SUMMARY.md": contents(),
    }


def main() -> None:
    """Write the pages where mkdocs takes them."""
    import mkdocs_gen_files

    for page, text in pages().items():
        with mkdocs_gen_files.open(page, "w") as file:
            file.write(text)
        if page in COPIES:
            mkdocs_gen_files.set_edit_path(page, f"../{COPIES[page]}")


if __name__ == "<run_path>":  # as the plugin runs it
    main()
