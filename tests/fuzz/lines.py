"""Command lines made wrong at random, over every command and option."""

from __future__ import annotations

import argparse
import os
import random
from importlib import import_module
from pathlib import Path
from typing import Any

from genlab.cli import COMMANDS, Parser

VALUES = (
    "", " ", "0", "-1", "1", "1e400", "9" * 30, "10000000000", "1000000", "nan", "inf", "-inf",
    "None", "null", "x" * 300, "x" * 5000, ".", "..", "/", "~", "-", "--", "=", "=x", "x=", "[",
    "{a", "&a *a", "é\U0001f642", "\udcff", "1,2", "1,,2", "1..0", "0..4", "0..9999999999", "5-1",
    "a\nb", "%s", "$HOME", "*", "**", "[a", "1.5", "0x10", "true", "/dev/null", "/dev/full",
    "/proc/self/mem", "fifo", "folder", "bytes.yaml", "bytes.ckpt", "empty.yaml", "empty.ckpt",
    "link", "missing", "missing.png", "folder.png", "missing/x.npz", "bytes.ckpt/x.png",
    "vae/digits", "Digits", "val/loss", "no.such.Class", "runs", "a;rm -rf b",
)  # fmt: skip
PAIRS = (
    "model.lr=", "model.lr=x", "model.lr=.nan", "model.lr=1e300", "model.lr=2024-99-99", "model=",
    "model=BoringModel", "model=3", "model=[]", "model.latent_dim=null", "data=", "data=Images",
    "data=os.system", "data.root=/", "data.root=fifo", "data.batch_size=0", "data.batch_size=-1",
    "data.batch_size=null", "data.val_size=1e9", "trainer=null", "trainer.max_steps=0",
    "trainer.devices=1000000000000", "trainer.accelerator=tpu", "trainer.callbacks=3",
    "trainer.callbacks=[[]]", "trainer.callbacks+=OnlineProbe", "trainer.log_every_n_steps=0",
    "trainer.num_nodes=2", "trainer.max_time={x: 1}", "trainer.barebones=true",
    "track.runs=/dev/null", "track.runs=fifo/x", "track.runs=null", "checkpoint=null",
    "seed_everything=x", "seed_everything=-5", "a.b.c=1", "=", "=1", ".=1", "model..lr=1",
    "model.optimizer=3", "model.optimizer.name=x", "model.lr=1e-3,1e-2", "seed_everything=0..2",
    "model.lr=log:1e-4..1e-2", "data.fold=1", "x" * 300 + "=1",
    "trainer.callbacks+=[" + "OnlineKNN, " * 40 + "Pictures]", "model.encoder=missing",
    "data.views=x",
)  # fmt: skip
RIGHT = {  # the positional words of a command that would run
    "fit": ["vae/digits"], "crossval": ["classifier/digits"], "bench": ["vae/digits"],
    "laws": ["no/recipe"], "sweep": ["vae/digits", "seed_everything=0,1"], "submit": ["vae/digits"],
    "ls": [], "show": ["vae/digits"], "cp": ["vae/digits", "mine.yaml"], "new": ["mylab"],
    "pack": ["folder", "shards"], "doctor": [], "jobs": [], "cancel": ["1"], "sync": [],
    "compare": ["RUN"], "reproduce": ["toy_flow_matching"],
}  # fmt: skip
ALWAYS = {
    "submit": ["--dry-run"],
    "sync": ["--dry-run"],
    "bench": ["--steps=2", "--warmup=1"],
    "reproduce": ["--show"],
}
LEFT_OUT = ("doctor", "jobs", "cancel")  # about the machine; they have hardly any words


def line(seed: int, number: int, run: str) -> list[str]:
    """One command line made wrong; the same for the same numbers."""
    draw = random.Random(f"{seed}/{number}")
    command = draw.choice([name for name in COMMANDS if name not in LEFT_OUT])
    words = [run if word == "RUN" else word for word in RIGHT.get(command, ["RUN"])]
    for _ in range(draw.choice((1, 1, 2, 3))):
        words = _wrong(command, words, draw)
    return [command, *words, *ALWAYS.get(command, [])]


def _wrong(command: str, words: list[str], draw: random.Random) -> list[str]:
    """Words with an option given a bad value, a bad pair more, or a positional one changed."""
    how = draw.random()
    if how < 0.55 and (known := options(command)):
        one = draw.choice(known)
        name = draw.choice(one.option_strings)
        takes = one.nargs != 0
        return [*words, *([f"{name}={draw.choice(VALUES)}"] if takes else [name])]
    if how < 0.75 and COMMANDS[command] in ("fit", "crossval", "measure", "evaluate", "features",
                                            "submit", "bench", "sweep", "laws"):  # fmt: skip
        return [*words, draw.choice(PAIRS)]
    if how < 0.9 or not words:
        value = draw.choice(VALUES)
        place = draw.randrange(len(words) + 1)
        return [*words[:place], value, *words[place + draw.choice((0, 1)) :]]
    if how < 0.95:
        return words[1:]
    return [*words, draw.choice(words)]


def options(command: str) -> list[argparse.Action]:
    """The options of a command."""
    parser, found = Parser(), list[argparse.Action]()
    add = parser.add_argument

    def noted(*names: str, **how: Any) -> argparse.Action:
        found.append(add(*names, **how))
        return found[-1]

    parser.add_argument = noted  # type: ignore[method-assign]
    module = import_module(f"genlab.cli.{COMMANDS[command]}")
    getattr(module, f"{command}_options")(parser)
    return [one for one in found if one.option_strings]


def lay_out(folder: Path) -> None:
    """Odd files that the command lines name."""
    os.mkfifo(folder / "fifo")
    for name in ("folder", "folder.png"):
        (folder / name).mkdir()
    for end in (".yaml", ".ckpt"):
        (folder / f"bytes{end}").write_bytes(bytes(range(256)))
        (folder / f"empty{end}").touch()
    (folder / "link").symlink_to("link")
