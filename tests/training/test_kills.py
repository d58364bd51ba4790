"""A run that was killed at any moment and continued leaves what the undisturbed one leaves."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from tests.fake_data import digits
from tests.training.kills import Kill, differences, drawn, train

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")
EPOCHS, OFTEN = "trainer.max_epochs=3", "trainer.log_every_n_steps=10"
FEW = ("data.steps_per_epoch=12", EPOCHS, OFTEN)
VIEWS = ("trainer.max_epochs=4", OFTEN)
PICTURES = ("data=ImageFolder", "data.image_size=8", "data.channels=1", "data.batch_size=16",
            "data.val_size=40", "data.workers=2", EPOCHS, OFTEN)  # fmt: skip
FAMILIES: dict[str, tuple[str, ...]] = {  # 30 to 60 batches each
    "autoencoder": ("autoencoder/digits", EPOCHS, OFTEN),
    "vae": ("vae/digits", EPOCHS, OFTEN, "trainer.val_check_interval=0.5"),
    "vae_accumulating": ("vae/digits", EPOCHS, OFTEN, "data.batch_size=128",
                         "trainer.accumulate_grad_batches=4"),
    "vae_rarely_validated": ("vae/digits", EPOCHS, OFTEN, "trainer.check_val_every_n_epoch=2"),
    "cvae": ("cvae/digits", EPOCHS, "trainer.log_every_n_steps=50"),
    "vqvae": ("vqvae/digits", EPOCHS, OFTEN),
    "vqvae_ema": ("vqvae/digits", EPOCHS, OFTEN, "model.codebook=ema", "model.restart_below=0.5"),
    "vq_prior": ("vq_prior/digits", "trainer.max_epochs=2", OFTEN),
    "classifier": ("classifier/digits", EPOCHS, OFTEN,
                   "trainer.callbacks+=[{class_path: EMAWeights}, {class_path: ReduceOnPlateau, "
                   "init_args: {patience: 0}}]"),
    "classifier_stopping": ("classifier/digits", "trainer.max_epochs=9", OFTEN,
                            "trainer.callbacks+=[{class_path: EarlyStopping, init_args: "
                            "{monitor: val/loss, patience: 1, min_delta: 9}}]"),
    "classifier_workers": ("classifier/digits", *PICTURES),
    "wgan_gp": ("wgan_gp/digits", "trainer.max_steps=25", OFTEN,
                "trainer.check_val_every_n_epoch=1"),
    "wgan_gp_moons": ("wgan_gp/two_moons", "trainer.max_steps=12", "trainer.log_every_n_steps=5"),
    "glow": ("glow/digits", "trainer.max_epochs=2", OFTEN),
    "nice": ("nice/digits", EPOCHS, OFTEN),
    "realnvp": ("realnvp/digits", EPOCHS, OFTEN),
    "realnvp_moons": ("realnvp/two_moons", "trainer.max_steps=40", OFTEN),
    "simclr": ("simclr/digits", *VIEWS),
    "moco": ("moco/digits", *VIEWS, "model.queue_size=256"),
    "moco_v3": ("moco_v3/digits", *VIEWS),
    "byol": ("byol/digits", *VIEWS),
    "barlow_twins": ("barlow_twins/digits", *VIEWS),
    "simsiam": ("simsiam/digits", *VIEWS),
    "fixmatch": ("fixmatch/digits", *FEW),
    "fixmatch_ctaugment": ("fixmatch/digits_ctaugment", *FEW, "trainer.check_val_every_n_epoch=2"),
    "freematch": ("fixmatch/digits", *FEW, "model.rule=freematch", "model.align=uniform",
                  "trainer.accumulate_grad_batches=2"),
}  # fmt: skip
ALWAYS = {  # at the places where it is hardest, one family each
    "fixmatch": [
        Kill("on_train_epoch_end", 1, last=True), Kill("on_train_batch_end", 9),
        Kill("on_validation_end", 2, last=True),
    ],
    "classifier_stopping": [
        Kill("on_validation_end", 2, last=True), Kill("on_train_epoch_end", 1, last=True),
        Kill("on_test_start"),
    ],
    "vae_accumulating": [Kill("on_save_checkpoint", 2, last=True), Kill("on_test_epoch_end")],
}  # fmt: skip
IN_CI = ("autoencoder", "vqvae_ema", "classifier", "wgan_gp", "glow", "moco", "byol",
         "fixmatch_ctaugment", "freematch", "vae_rarely_validated")  # fmt: skip


def _needs(folder: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    """What a family is trained on or with: a folder of pictures, a tokenizer."""
    if "data=ImageFolder" in words:
        images, labels = digits(8)
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = folder / "pictures" / f"{label}" / f"{k:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
        return (f"data.root={folder / 'pictures'}",)
    if words[0].startswith("vq_prior"):
        (folder / "tokenizer").mkdir()
        run, _ = train(folder / "tokenizer", ("vqvae/digits", "trainer.max_epochs=1"))
        return (f"model.tokenizer={run}",)
    return ()


def assert_equal(folder: Path, words: tuple[str, ...], kills: list[Kill]) -> int:
    """Compare a training without kills and one with; how many of them struck the run."""
    for name in ("straight", "killed"):
        (folder / name).mkdir()
    words = (*words, *_needs(folder, words))
    straight, _ = train(folder / "straight", words)
    run, killed = train(folder / "killed", words, kills)
    found = differences(run, straight)
    assert not found, f"{kills}: " + "\n".join(found)
    return killed


@pytest.mark.parametrize("family", ALWAYS)
def test_killed_where_it_is_hardest(tmp_path: Path, family: str) -> None:
    assert assert_equal(tmp_path, FAMILIES[family], ALWAYS[family]) == len(ALWAYS[family])


@pytest.mark.slow
@pytest.mark.parametrize("family", IN_CI)
def test_killed_once_at_random(tmp_path: Path, family: str) -> None:
    draw = random.Random(f"ci {family}")
    for trial in range(9):  # a moment drawn may lie before the run's start or behind its end
        (folder := tmp_path / f"{trial}").mkdir()
        if assert_equal(folder, FAMILIES[family], [drawn(draw)]):
            return
    pytest.fail("no kill struck the run")


@pytest.mark.prove
@pytest.mark.parametrize("trial", range(3))
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_again_and_again(tmp_path: Path, family: str, trial: int) -> None:
    """Up to ten kills a trial, near three hundred in all: some moments lie behind the end."""
    draw = random.Random(f"prove {family} {trial}")
    killed = assert_equal(tmp_path, FAMILIES[family], [drawn(draw) for _ in range(10)])
    print(f"{family}: equal after {killed} kills")
