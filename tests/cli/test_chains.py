"""``submit --then`` and ``--after`` with commands that only look like Slurm's."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.planning import queueing
from tests.cli.test_submit import fake, program
from tests.conftest import Here

__all__ = ["fake"]

COUNT = """n=$(($(cat {0}/count 2>/dev/null || echo 11) + 1))
echo $n > {0}/count
cp {0}/sbatch.words {0}/sbatch.$n
"""
WIDTHS = (40, 120, 20, 60, 20, 20, 10, 1000, 1000, 8000)
SHORT = ("--time", "10", "--cpus-per-task", "2")


def counting(folder: Path, script: str = "echo $n") -> None:
    """An sbatch whose jobs are 12, 13, ...; the words of each are kept."""
    program(folder, "sbatch", COUNT.format(folder) + script)


def said(folder: Path, job: int) -> list[str]:
    return (folder / f"sbatch.{job}").read_text().splitlines()


def queued(folder: Path, here: Here, *rows: tuple[str, str, str, str]) -> None:
    """A queue of (job, recipe, state, arguments)."""
    lines = []
    for job, recipe, state, words in rows:
        mark = "%A_%a" if "_" in job else "%j"
        log, script = here.folder / "runs" / recipe / f"slurm-{mark}.log", "/a/slurm/train.sbatch"
        cells = (job, f"genlab:{recipe}", state, "None", "0:00", "10:00", "1", str(here.folder),
                 str(log), f"{script} {words}".strip())  # fmt: skip
        lines.append("".join(c.ljust(w) for c, w in zip(cells, WIDTHS, strict=True)))
    (folder / "queue").write_text("\n".join(lines) + "\n")
    program(folder, "squeue", f"cat {folder}/queue")


def test_each_link_starts_from_the_run_of_the_one_before(here: Here, fake: Path) -> None:
    counting(fake)
    out, err = here(
        "submit", "simclr/digits", *SHORT, "trainer.max_steps=4", "--then", "linear/digits",
        "trainer.max_steps=5", "--time", "20", "--then=finetune/digits", "model.pretrained=@1",
    )  # fmt: skip
    runs = here.folder / "runs"
    first, second, third = (said(fake, job) for job in (12, 13, 14))
    assert first[-2:] == ["simclr/digits", "trainer.max_steps=4"]
    source = f"model.pretrained={runs}/simclr/digits/slurm-12"
    assert second[-3:] == ["linear/digits", "trainer.max_steps=5", source]
    assert third[-2:] == ["finetune/digits", source]
    assert [word for word in first if "dependency" in word] == []
    assert {"--dependency=afterok:12", "--kill-on-invalid-dep=yes", "--time=20"} <= set(second)
    assert {"--dependency=afterok:13", "--time=10", "--cpus-per-task=2"} <= set(third)
    assert "run   runs/linear/digits/slurm-13\n" in out
    assert "after 13, model.pretrained is the run of link 1" in out
    assert "genlab cancel 12 13 14" in out
    assert "genlab-" not in out + err  # places of stand-ins


def test_a_chain_may_begin_with_a_run_that_is_continued(
    here: Here, fake: Path, digits_run: Path
) -> None:
    counting(fake)
    words = ("--then", "finetune/digits", "model.encoder=small_cnn")
    _, error = here("submit", "--resume", str(digits_run), *words, code=2)
    assert "link 2, finetune/digits: link 1 fits" in error
    here("submit", "--resume", str(digits_run), "--then", "finetune/digits",
         "model.pretrained=false", "model.encoder=small_cnn")  # fmt: skip
    assert said(fake, 12)[-2:] == ["--resume", str(digits_run)]
    assert "--dependency=afterok:12" in said(fake, 13)


def test_a_stand_in_that_has_no_room_is_not_checked(
    here: Here, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    counting(fake)
    monkeypatch.setattr("torch.save", full)
    out, _ = here("submit", "simclr/digits", "--then", "linear/digits")
    assert "link 2: model and data, for want of link 1's network" in out


def test_a_tokenizer_is_the_run_of_the_link_before(here: Here, fake: Path) -> None:
    out, _ = here("submit", "vqvae/digits", "--then", "vq_prior/digits", "--dry-run")
    assert f"model.tokenizer={here.folder}/runs/vqvae/digits/slurm-JOB1" in out
    assert "--dependency=afterok:JOB1" in out
    assert not (here.folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("vqvae/digits --then linear/digits", "link 2, linear/digits: link 1 does not name"),
        ("simclr/digits --then vq_prior/digits", "link 1 is a SimCLR, not a VQ-VAE"),
        ("simclr/digits --then vae/digits", "link 2, vae/digits: VAE takes no run"),
        ("simclr/digits --then linear/digit", "linear/digits"),
        ("simclr/digits --then linear/digits --nodes 3", "link 2, linear/digits: batch_size"),
        ("simclr/digits --then linear/digits --time 1", "link 2, linear/digits: --time 1"),
        ("simclr/digits --then linear/digits --tmie 9", "--time"),
        ("simclr/digits --then linear/digits --after 3", "--after goes before the first --then"),
        ("simclr/digits --then linear/digits model.pretrained=@2", "there is none"),
        ("simclr/digits --then linear/digits model.encoder=@", "model.encoder takes no run"),
        ("linear/digits model.pretrained=@", "--then RECIPE adds a link"),
        ("simclr/digits --then", "link 2: no recipe is given"),
        ("simclr/digitz --then linear/digits", "link 1, simclr/digitz: no recipe"),
        ("simclr/digits --then linear/digitz", "link 2, linear/digitz: no recipe"),
        ("simclr/digits --then linear/digits data.batch_siz=3", "link 2, linear/digits: Digits"),
        ("simclr/digits --array-of-seeds 0-2 --then linear/digits", "an array has many runs"),
    ],
)
def test_a_bad_link_queues_nothing(here: Here, fake: Path, words: str, told: str) -> None:
    counting(fake)
    _, error = here("submit", *words.split(), code=2)
    assert told in error
    assert len(error.strip().splitlines()) <= 3
    assert "genlab-" not in error
    assert not (fake / "sbatch.words").exists()


def test_jobs_are_cancelled_when_a_later_one_is_refused(here: Here, fake: Path) -> None:
    counting(fake, '[ $n = 14 ] && { echo "sbatch: error: too many" >&2; exit 1; }; echo $n')
    cancelled = program(fake, "scancel", "")
    few = ("trainer.max_steps=4", "--then", "linear/digits", "--then", "knn/digits")
    _, error = here("submit", "simclr/digits", *few, code=2)
    assert error.splitlines() == [
        "genlab: link 3, knn/digits: sbatch refused: too many",
        "  cancelled jobs 12, 13 of the links before",
    ]
    assert cancelled.read_text().split() == ["12", "13"]


PENDING = ("12", "simclr/digits", "PENDING", "simclr/digits trainer.max_steps=4")


def test_a_run_that_a_job_is_going_to_write_is_checked_by_its_recipe(
    here: Here, fake: Path
) -> None:
    counting(fake)
    queued(fake, here, PENDING)
    words = ("submit", "linear/digits", "--after", "12", *SHORT)
    run = here.folder / "runs" / "simclr" / "digits" / "slurm-12"
    for name in ("slurm-12", str(run), "simclr/digits/slurm-12"):
        out, _ = here(*words, f"model.pretrained={name}")
        assert (fake / "sbatch.words").read_text().splitlines()[-1] == f"model.pretrained={run}"
        assert "after 12, model.pretrained is the run of slurm-12" in out
        assert "by building model, data and trainer on this CPU" in out
    file = "checkpoints/best.ckpt"
    here(*words, f"model.pretrained=runs/simclr/digits/slurm-12/{file}")
    assert (fake / "sbatch.words").read_text().splitlines()[-1] == f"model.pretrained={run}/{file}"


@pytest.mark.parametrize(
    ("row", "words", "told"),
    [
        (PENDING, "model.pretrained=slurm-12", "--after 12 waits until job 12 has succeeded"),
        (PENDING, "model.pretrained=slurm-13 --after 13", "job 13 is not in the queue"),
        (PENDING, "model.pretrained=runs/moco/x/slurm-12 --after 12", "simclr/digits/slurm-12"),
        (("12_0", *PENDING[1:]), "model.pretrained=slurm-12 --after 12", "slurm-12_0"),
        (("12_0", *PENDING[1:3], ""), "model.pretrained=slurm-12_0 --after 12", "a sweep's"),
        ((*PENDING[:2], "FAILED", ""), "model.pretrained=slurm-12 --after 12", "as FAILED"),
        ((*PENDING[:2], "COMPLETED", "a"), "model.pretrained=slurm-12 --after 12", "has ended"),
        (("12", "vqvae/digits", "RUNNING", "vqvae/digits"), "model.pretrained=slurm-12 --after 12",
         "slurm-12 does not name the network"),
    ],
)  # fmt: skip
def test_a_run_that_is_not_going_to_be_there_is_refused(
    here: Here, fake: Path, row: tuple[str, str, str, str], words: str, told: str
) -> None:
    counting(fake)
    queued(fake, here, row)
    _, error = here("submit", "linear/digits", *words.split(), code=2)
    assert told in error
    assert len(error.strip().splitlines()) <= 3
    assert not (fake / "sbatch.words").exists()


def test_a_job_that_slurm_does_not_know_is_not_waited_for(here: Here, fake: Path) -> None:
    counting(fake)
    program(fake, "squeue", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    out, said = here("submit", "vae/digits", "--after", "999")
    assert "job   12" in out
    assert said == "--after 999: Slurm does not know it, or no more; it is not waited for\n"


def test_what_cannot_be_checked_is_said(here: Here, fake: Path) -> None:
    counting(fake)
    queued(fake, here, ("12", "mine", "PENDING", "/no/such/mine.yaml trainer.callbacks=[{a: b}]"))
    words = ("submit", "linear/digits", "model.pretrained=slurm-12", "--after", "12")
    out, _ = here(*words)
    assert "model and data, for want of slurm-12's network" in out
    assert "by building" not in out
    out, told = here(*words, "--dry-run")
    assert "not checked" not in out
    assert told == (
        "not checked: the images on the disk; memory; the nodes; "
        "model and data, for want of slurm-12's network\n"
    )
    _, error = here(*words, "trainer.max_epoch=3", code=2)
    assert "max_epochs" in error


def test_what_only_gpus_can_build_is_not_checked(here: Here, fake: Path) -> None:
    counting(fake)
    out, _ = here("submit", "vae/digits", "trainer.precision=16-mixed")
    assert "the nodes; trainer.precision 16-mixed\n" in out


SIX = "main*|6|gpu:a100:2(S:0-1)|a100,nvlink\nmain*|64|(null)|old\nfat|256|gpu:4|h100\n"


@pytest.mark.parametrize(
    ("words", "cpus", "why"),
    [
        (("--gpus-per-node", "2"), "3", "the share of a node with 6 CPUs for 2 GPUs"),
        (("--gpus-per-node", "2", "--cpus-per-task", "5"), "5", "--cpus-per-task"),
        (("--gpus-per-node", "4"), "8", "the default: sinfo knows no such node"),
        (("--gpus-per-node", "4", "--partition", "fat"), "8", "the default"),
        (("--tasks-per-node", "2"), "3", "the share of a node with 6 CPUs for 2 tasks"),
        (("--tasks-per-node", "2", "--constraint", "old"), "8", "the default"),
    ],
)
def test_cpus_of_a_task_are_eight_or_the_share_of_a_node(
    here: Here, fake: Path, words: tuple[str, ...], cpus: str, why: str
) -> None:
    counting(fake)
    (fake / "nodes").write_text(SIX)
    program(fake, "sinfo", f'[[ "$*" == *fat* ]] && grep ^fat {fake}/nodes || cat {fake}/nodes')
    out, _ = here("submit", "vae/digits", "data.batch_size=128", *words)
    assert f"cpus  {cpus} a task, {why}\n" in out
    assert f"--cpus-per-task={cpus}" in said(fake, 12)


SMALL = ("simclr/digits", "--gpus-per-node", "2")


@pytest.mark.parametrize(
    ("words", "sinfo", "kind"),
    [
        (("--gpu", "h100"), "", "h100"),
        (("--constraint", "v100-32"), "gpu:a100-80:2", "v100-32"),
        ((), "gpu:a100:2(S:0-1)", "a100-40"),
        (("--no-plan",), "gpu:a100:2", ""),
        ((), "gpu:2", ""),
    ],
)
def test_the_memory_of_the_gpus_is_planned(
    here: Here, fake: Path, words: tuple[str, ...], sinfo: str, kind: str
) -> None:
    counting(fake)
    program(fake, "sinfo", f"echo 'main*|64|{sinfo}|v100-32'" if sinfo else "exit 1")
    out, said = here("submit", *SMALL, *words)
    assert ("memory; the nodes" in out) is not bool(kind)
    assert (f"memory of {kind} by genlab plan" in out) is bool(kind)
    assert said == (f"planning simclr/digits on 2 {kind} (--no-plan skips) ...\n" if kind else "")


def test_a_recipe_without_room_is_queued_with_a_warning(
    here: Here, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(fake)
    monkeypatch.setattr(queueing, "verdict", lambda *_: "a GPU is going to need 90.0 GB")
    out, err = here("submit", *SMALL, "--gpu", "v100-32", "--then", "linear/digits")
    assert err.count("link 1: a GPU is going to need 90.0 GB\n") == 1
    assert err.count("link 2: a GPU is going to need 90.0 GB\n") == 1
    assert "job   13\n" in out


def test_a_plan_that_fails_stops_nothing(
    here: Here, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ArithmeticError

    counting(fake)
    monkeypatch.setattr("genlab.planning.fake.fake_step", broken)
    out, _ = here("submit", *SMALL, "--gpu", "h100")
    assert "job   12\n" in out
    assert "on the disk; memory; the nodes" in out
    _, error = here("submit", *SMALL, "--gpu", "h1000", code=2)
    assert "h100" in error
