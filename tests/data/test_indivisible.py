"""Images and batches that processes do not divide, of files, shards and two streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.data import ImageFolder
from genlab.testing.ranks import Ranks
from tests.conftest import Here
from tests.data import made

TRAIN, HELD_OUT, BATCH = 17, 7, 12  # neither is a multiple of the batch, nor of 2, 3 or 4
TWO_STREAMS: dict[str, Any] = {"labels": 6, "unlabeled_ratio": 1, "steps_per_epoch": 3}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "files": ("photographs", {}),
    "shards": ("shards", {}),
    "shards in their order": ("shards", {"order": "shards", "window": 8}),
    "files, two streams": ("photographs", TWO_STREAMS),
    "shards, two streams": ("shards", TWO_STREAMS),
}
SOME = {"files", "shards in their order", "files, two streams"}

pytestmark = pytest.mark.ddp
every_form = pytest.mark.parametrize(
    "form", [form if form in SOME else pytest.param(form, marks=pytest.mark.slow) for form in FORMS]
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures to train and 6 to test, as files and as shards."""
    folder = tmp_path_factory.mktemp("pictures")
    made.shards(folder)
    return folder


def data_of(root: str, form: str, **more: Any) -> ImageFolder:
    name, options = FORMS[form]
    own: dict[str, Any] = {
        "image_size": 16, "workers": 0, "in_memory": False, "batch_size": BATCH,
        "eval_batch_size": 4, "val_size": HELD_OUT, "seed": 3,
        "augment": {"crop": [0.2, 1.0], "flip": True},
    }  # fmt: skip
    return ImageFolder(str(Path(root, name)), **own | options | more)


def batches(rank: int, world: int, root: str, form: str) -> dict[str, list[Any]]:
    """Two epochs of training, validation and test, as this rank gets them on its device."""
    data = data_of(root, form)
    loader: Any = data.train_dataloader()
    found: dict[str, list[Any]] = {"train": []}
    for epoch in range(2):
        loader.set_epoch(epoch)
        found["train"] += [data.to_device(batch) for batch in loader]
    for split in ("val", "test"):
        held = data.bank_dataloader(split, shard=True)
        found[split] = [data.to_device(batch) for batch in held]
    return found


def parts(batch: dict[str, Any]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Positions and pictures of a batch, of each of its streams."""
    if "labeled" not in batch:
        return [(batch["index"], batch["image"])]
    both = batch["labeled"], batch["unlabeled"]
    return [(both[0]["index"], both[0]["image"]), (both[1]["index"], both[1]["views"][0])]


@every_form
@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_share_what_one_process_reads(
    world: int, form: str, root: Path, ranks: Ranks
) -> None:
    one, *many = (ranks.run(batches, n, str(root), form) for n in (1, world))
    whole = one[0]
    for batch, *shares in zip(whole["train"], *(rank["train"] for rank in many[0]), strict=True):
        for rank, share in enumerate(shares):
            for (ours, mine), (theirs, all_of) in zip(parts(share), parts(batch), strict=True):
                assert torch.equal(ours, theirs[rank::world])
                torch.testing.assert_close(mine, all_of[rank::world])
    for split, count in (("val", HELD_OUT), ("test", 6)):
        assert len({len(rank[split]) for rank in many[0]}) == 1
        seen = [
            {int(k): image for batch in batches for k, image in zip(*parts(batch)[0], strict=True)}
            for batches in (whole[split], [b for rank in many[0] for b in rank[split]])
        ]
        assert seen[0].keys() == seen[1].keys()
        assert len(seen[0]) == count == sum(len(b["index"]) for r in many[0] for b in r[split])
        for k, image in seen[0].items():
            torch.testing.assert_close(seen[1][k], image)


@every_form
def test_no_image_comes_twice_in_an_epoch(form: str, root: Path) -> None:
    """Of 17 images a batch of 12 is complete; 5 are left out of an epoch, others in each."""
    data = data_of(str(root), form)
    loader: Any = data.train_dataloader()
    seen = []
    for epoch in range(12):
        loader.set_epoch(epoch)
        for batch in loader:
            indices = batch.get("unlabeled", batch)["index"].tolist()
            assert len(set(indices)) == len(indices) == BATCH
            seen.append(indices)
    assert len({k for indices in seen for k in indices}) == TRAIN


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("form", FORMS)
def test_two_epochs_and_a_validation_are_those_of_one_process(
    world: int, form: str, root: Path, ranks: Ranks, tmp_path: Path
) -> None:
    program, (name, options) = "tests.data.programs_sources:outcome", FORMS[form]
    recipe = "fixmatch/digits" if options.get("labels") else "classifier/digits"
    words = [*made.words(("ImageFolder", made.FILES | options | {"root": str(root / name)})),
             f"data.batch_size={BATCH}", f"data.val_size={HELD_OUT}", "data.eval_batch_size=4",
             "data.in_memory=false"]  # fmt: skip
    given = (str(tmp_path), recipe, *words)
    (weights, metrics), *_ = ranks.run(program, 1, *given)
    for ours, found in ranks.run(program, world, *given):
        for key, value in weights.items():
            torch.testing.assert_close(ours[key], value, rtol=1e-5, atol=1e-6)
        assert found == pytest.approx(metrics, rel=1e-5)


@pytest.mark.parametrize("form", sorted(SOME))
@pytest.mark.parametrize(
    ("words", "said", "where"),
    [
        (("data.batch_size=10", "trainer.devices=4"),
         "it must be divisible by 4 devices x 1 accumulated batches = 4; 8 would do",
         "data.batch_size"),
        (("data.batch_size=18", "trainer.devices=3"), "17", "data."),
        (("data.batch_size=4", "data.val_size=3", "trainer.devices=4"),
         "3 validation images cannot be divided among 4 processes", "data.val_size"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(
    words: tuple[str, ...], said: str, where: str, form: str, root: Path, here: Here
) -> None:
    name, options = FORMS[form]
    recipe = "fixmatch/digits" if options.get("labels") else "classifier/digits"
    data = made.words(("ImageFolder", made.FILES | options | {"root": str(root / name)}))
    more = (f"data.val_size={HELD_OUT}", "trainer.accelerator=cpu", "track.wandb=off")
    _, err = here("fit", recipe, *data, *more, *words, code=2)
    what, place = err.strip().splitlines()
    assert said in what
    assert where in place
    assert not here.runs()
