"""``genlab plan``: one table within 80 columns, JSON, exit codes."""

from __future__ import annotations

import json
import re

import pytest

from genlab.cli import plan as command
from genlab.planning import fake, faults, loading
from genlab.planning.exam import Fault
from genlab.planning.loading import Loading
from genlab.planning.step import Step
from genlab.recipes import Recipe
from tests.conftest import Here
from tests.planning.test_plan import made_up

NAME = "simclr/imagenet_resnet50"
LARGE = ["--nodes", "4", "--gpus-per-node", "8", "--gpu", "a100-40"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "fake_step", made_up)
    monkeypatch.setattr(loading, "measure", lambda *_: Loading(500.0, "JPEG files", None))


def row(table: str, name: str) -> str:
    """The first row of this name, spaces and borders left out."""
    found = re.search(rf"^│ {re.escape(name)} .*$", table, re.M)
    assert found, f"{name} in\n{table}"
    return " ".join(found[0].replace("│", " ").split())


@pytest.mark.usefixtures("made")
def test_one_table_of_80_columns(here: Here) -> None:
    out, err = here("plan", NAME, *LARGE)
    assert max(map(len, out.splitlines())) <= 80
    assert "global batch 4,096 = 128 x 32 GPUs" in out
    assert row(out, "activations") == "activations 11.5 GB"
    assert row(out, "needed").startswith("needed 13.8 GB fits in 40 GB")
    assert row(out, "largest batch").startswith("largest batch 396 images a GPU")
    assert row(out, "encoder") == "encoder 6.14 TFLOP 48 GFLOP"
    assert row(out, "embeddings").startswith("embeddings 65.5 kB all_gather, 2 calls")
    assert row(out, "step") == "step 56.4 ms arithmetic binds"
    assert row(out, "GPU-hours").startswith("GPU-hours 15.5")
    assert "estimate: no GPU has run this; utilisation assumed at 35%" in out
    assert "data sheet, 2020" in out
    assert err.count("\n") == 3
    assert not here.runs()


@pytest.mark.usefixtures("made")
def test_exit_code_one_where_it_does_not_fit(here: Here) -> None:
    out, _ = here("plan", NAME, "data.batch_size=32768", *LARGE, code=1)
    assert "DOES NOT FIT" in out
    assert "grad_checkpointing" in out
    found = json.loads(here("plan", NAME, "data.batch_size=32768", *LARGE, "--json", code=1)[0])
    assert found["fits"] is False
    assert found["changes"]


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("kind", "code"), [("float64", 0), ("host read", 0), ("wrong device", 1), ("deadlock", 1)]
)
def test_faults_are_lines_and_those_that_stop_a_training_are_exit_code_one(
    kind: str, code: int, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(kind, "weight is a tensor", "mine.py:7")
    monkeypatch.setattr(faults, "faults", lambda _: [fault])
    out, _ = here("plan", NAME, *LARGE, "--faults", code=code)
    assert out.splitlines()[-1] == f"{kind} at mine.py:7: weight is a tensor"
    found = json.loads(here("plan", NAME, *LARGE, "--faults", "--json", code=code)[0])
    assert found["faults"] == [
        {"kind": kind, "what": "weight is a tensor", "where": "mine.py:7", "stops": bool(code)}
    ]


@pytest.mark.usefixtures("made")
def test_that_no_fault_was_found_is_said_only_after_a_search(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "faults", lambda _: [])
    assert here("plan", NAME, *LARGE, "--faults")[0].endswith("\nno fault found\n")
    assert "no fault" not in here("plan", NAME, *LARGE)[0]
    assert json.loads(here("plan", NAME, *LARGE, "--json")[0])["faults"] is None


@pytest.mark.usefixtures("made")
def test_cores_are_those_of_the_node(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = here("plan", NAME, *LARGE, "--cores", "2")
    assert "2 cores, --cores" in " ".join(out.replace("│", " ").split())
    monkeypatch.setattr(command, "cpus", lambda job: (job.gpus_per_node, "the share of a node"))
    found = json.loads(here("plan", NAME, *LARGE, "--json")[0])
    assert (found["cluster"]["cores"], found["cluster"]["cores_from"]) == (8, "the share of a node")


@pytest.mark.usefixtures("made")
def test_a_gpu_without_bfloat16(here: Here) -> None:
    out, _ = here("plan", NAME, "--nodes", "4", "--gpus-per-node", "8", "--gpu", "v100-32")
    assert "NVIDIA V100 SXM2 32 GB has no bf16 tensor cores" in out
    assert "trainer.precision=16-mixed" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vae/digits", "--gpu", "a100"], "did you mean a100-40 or a100-80"),
        (["vae/digits"], "no GPU is named"),
        (["vae/digits", "--memory", "24"], "--memory without --gpu requires --tflops"),
        (["vae/digits", "--tflops", "24"], "--tflops without --gpu requires --memory"),
        (["vae/digts", "--gpu", "t4"], "did you mean vae/digits"),
        (["vae/digits", "--gpu", "t4", "--nodes", "0"], "--nodes 0 must be above 0"),
        (["vae/digits", "--gpu", "t4", "--utilisation", "0.3"], "percentage from 1 to 100"),
        (["vae/digits", "--gpu", "t4", "--nodes", "3"], "63 would do"),
        (["vae/digits", "--gpu", "t4", "model.latent=3"], "did you mean latent_dim"),
        (["vae/digits", "--gpu", "l4", "trainer.precision=bf17"], "did you mean bf16"),
        (["vae/digits", "--gpu", "l4", "trainer.devices=2"], "--gpus-per-node 2 would do"),
        (["vae/digits", "--gpu", "l4", "trainer.num_nodes=2"], "--nodes 2 would do"),
        (["vae/digits", "--gpu", "l4", "trainer.strategy=ddp_spawn"], "starts its processes"),
        (["vae/digits", "--gpu", "l4", "data.batch_size=9000"], "9000 exceeds the 1297 training"),
        (
            ["simclr/digits", "--gpu", "l4", "data.batch_size=2", "--gpus-per-node", "2"],
            "at least two images per process",
        ),
    ],
)
def test_wrong_input_is_at_most_three_lines(here: Here, words: list[str], said: str) -> None:
    _, err = here("plan", *words, code=2)
    assert said in err
    assert len(err.splitlines()) <= 3


def test_a_recipe_at_its_own_size(here: Here) -> None:
    words = ("data.batch_size=32", "--gpus-per-node", "2", "--memory", "2", "--tflops", "8")
    found = json.loads(here("plan", "vae/digits", *words, "--json")[0])
    assert found["step"]["images"] == 16
    first, second = 2 * 16 * 64 * 128, 2 * 16 * 128 * (8 + 8)  # mean and variance
    assert found["step"]["flops"]["encoder"] == 2 * first + 3 * second
    assert found["length"]["images"] == 1297
    assert found["largest"]["limit"] == "the number of training images"
    assert found["loading"]["images_per_second"] > 1000
    assert found["cluster"]["gpu"]["kind"] == "other"
    assert found["fits"] is (found["hours"] is not None)


@pytest.mark.usefixtures("made")
def test_devices_of_a_recipe_that_the_options_repeat(here: Here) -> None:
    here("plan", NAME, "trainer.num_nodes=4", "trainer.devices=8", *LARGE)


@pytest.mark.usefixtures("made")
def test_a_gpu_without_room_for_the_least_batch(here: Here) -> None:
    out, _ = here("plan", NAME, "--gpu", "l4", "--memory", "0.5", code=1)
    assert row(out, "largest batch").startswith("largest batch 0 images a GPU: not even")


def test_the_recipe_is_the_same_afterwards() -> None:
    from genlab import recipes

    def settings(recipe: Recipe) -> str:
        return json.dumps(recipe.config)

    recipe = recipes.resolve(["vae/digits"])
    before = settings(recipe)
    found: Step = fake.fake_step(recipe)
    assert found.images == 64
    assert settings(recipe) == before


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(("columns", "wide"), [(50, 50), (120, 120), (200, 120), (20, 44)])
def test_the_table_is_as_wide_as_the_terminal_and_cuts_nothing(
    columns: int, wide: int, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out, _ = here("plan", NAME, *LARGE)
    lines = out.splitlines()
    assert max(map(len, lines)) <= wide
    assert {len(line) for line in lines if line[0] in "┌├│└"} == {wide}
    assert "…" not in out
    assert "allreduce" in re.sub(r"[\s│_]", "", out)


@pytest.mark.usefixtures("made")
def test_a_gpu_that_only_numbers_describe_is_named_by_them(here: Here) -> None:
    out, _ = here("plan", NAME, *LARGE[:4], "--memory", "24", "--tflops", "82")
    assert "on 4 x 8 GPU of 24 GB and 82 TFLOPS\n" in out
    assert "fits in 24 GB (--memory)" in row(out, "needed")


@pytest.mark.usefixtures("made")
def test_what_does_not_fit_has_no_hours(here: Here) -> None:
    out, _ = here("plan", NAME, "data.batch_size=32768", *LARGE, code=1)
    assert "GPU-hours" not in out
    assert "it does not fit: plan a batch" in " ".join(out.replace("│", " ").split())


def test_a_gpu_that_this_machine_lacks_is_one_line(here: Here) -> None:
    _, err = here("fit", "vae/digits", "trainer.accelerator=cuda", code=1)
    assert err.startswith("genlab: trainer.accelerator=cuda: this machine lacks a")
    assert len(err.splitlines()) == 1
    assert not here.runs()


def test_a_batch_that_does_not_divide_has_the_same_words_everywhere(here: Here) -> None:
    words = ("vae/digits", "data.batch_size=10")
    said = (
        "genlab: batch_size 10 is global: it must be divisible by 4 devices x 1 accumulated "
        "batches = 4; 8 would do\n  in the command line, data.batch_size\n"
    )
    four = ("--gpus-per-node", "4")
    assert here("plan", *words, "--gpu", "l4", *four, code=2)[1] == said
    assert here("submit", *words, *four, "--no-plan", "--dry-run", code=2)[1] == said
