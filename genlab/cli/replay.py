"""``replay``: the step that ended a run because it was not finite, once more."""

from __future__ import annotations

from argparse import ArgumentParser

from genlab import recipes, runs
from genlab.cluster import launch


def replay_options(parser: ArgumentParser) -> None:
    """Run a step again that was not finite, and name the first module and tensor that are not.

    Same weights, images, views and random numbers; on a CPU the same bits. Exit code 1 if it comes
    out differently.
    """
    parser.add_argument("run", metavar="RUN")


def replay(run: str) -> int:
    """Print what was not finite, the first tensor, and the images."""
    launch.check()
    recipes.refuse_untrained(run)
    folder = runs.find(run).absolute()
    from genlab import process
    from genlab.training import replaying
    from genlab.training.engine import capture

    found, facts = replaying.replay(folder), capture.read(folder)
    different = replaying.reproduced(found, facts)
    if process.is_first():
        losses = ", ".join(f"{loss} (0x{bits})" for loss, bits in replaying.losses(found))
        print(f"step {facts['step']:,}: {facts['what']} not finite ({facts['value']})")
        print(f"first: {found.first or 'all tensors are finite'}")
        print(f"loss: {losses}; images: {capture.FOLDER}/{capture.FACTS}")
        if different:
            print(f"it is {different}")
    return int(bool(different))
