"""What trackers show of a run and of its later evaluation, read back from their own files."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab import checkpoints
from tests.cli.test_wandb import records
from tests.training.tracking.test_other_loggers import of_mlflow, of_tensorboard

SMALL = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 3,
    "model.encoder_kwargs": {"width": 8},
    "data.split_seed": 0,
}
LOGGERS = ("tensorboard", "mlflow")  # as the packages, where they are installed
SAID = {
    "track.wandb": "offline",
    "track.name": "first try",
    "track.notes": "with\ntwo lines",
    "track.group": "tries",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, genlab.Run]:
    """A checkpoint, and a run that was fine-tuned from it, tracked offline and evaluated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("shown"))
        patch.delenv("WANDB_MODE", raising=False)
        first = genlab.fit("classifier/digits", SMALL | {"track.wandb": "off"})
        pretrained = first.path / "checkpoints" / "best.ckpt"
        own = {"model.pretrained": str(pretrained), "track.loggers": [*filter(find_spec, LOGGERS)]}
        run = genlab.fit("classifier/digits", SMALL | SAID | own)
        genlab.evaluate(run)
        return pretrained, run


def parts(run: genlab.Run) -> list[list[Any]]:
    """Records of each start's offline file."""
    return [records(file) for file in sorted(run.path.glob("wandb/offline-run-*/*.wandb"))]


def of_kind(seen: list[Any], kind: str) -> list[Any]:
    return [getattr(r, kind) for r in seen if r.WhichOneof("record_type") == kind]


def summary_of(seen: list[Any]) -> dict[str, Any]:
    """The last value of each key, nested ones joined by dots."""
    updates = [u for one in of_kind(seen, "summary") for u in one.update]
    return {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in updates}


def test_wandb_has_the_selected_metrics_and_later_ones(made: tuple[Path, genlab.Run]) -> None:
    _, run = made
    trained, evaluated = parts(run)
    assert of_kind(trained, "run")[0].run_id == of_kind(evaluated, "run")[0].run_id
    for seen in (trained, evaluated):
        (started,) = of_kind(seen, "run")
        assert (started.display_name, started.notes) == ("first try", "with\ntwo lines")
        assert started.run_group == "tries"
    final = run.metrics
    for seen, prefixes in ((trained, ("best/", "test/")), (evaluated, ("test/", "evaluate/"))):
        shown = summary_of(seen)
        keys = [key for key in final if key.startswith(prefixes)]
        assert len({key.partition("/")[0] for key in keys}) == 2
        assert {key: shown[key] for key in keys} == {key: final[key] for key in keys}
    assert not [key for key in summary_of(trained) if key.startswith("evaluate/")]


def test_wandb_has_captions_and_tables_of_predictions(made: tuple[Path, genlab.Run]) -> None:
    _, run = made
    seen = parts(run)[0]
    shown = summary_of(seen)
    tables = [a for a in of_kind(seen, "artifact") if a.type == "run_table"]
    assert shown["pictures/confusion.captions"] == ["Confusion matrix of the last test, rows true."]
    for key, artifact in zip(("test/predictions", "test/mistakes"), tables, strict=True):
        path = shown[f"{key}.path"]
        (file,) = run.path.glob(f"wandb/offline-run-*/files/{path}")
        table = json.loads(file.read_text())
        assert table["columns"] == ["index", "image", "label", "predicted", "confidence"]
        assert len(table["data"]) == 32
        images = [e for e in artifact.manifest.contents if e.path.endswith(".png")]
        assert len(images) == 32
        names = {str(k) for k in range(10)}
        assert {row[2] for row in table["data"]} <= names
        sure = [row[4] for row in table["data"]]
        if key == "test/mistakes":
            assert sure == sorted(sure, reverse=True)
            assert all(row[2] != row[3] for row in table["data"])


def test_wandb_knows_where_a_run_came_from_and_what_it_made(
    made: tuple[Path, genlab.Run],
) -> None:
    pretrained, run = made
    start, best = (a for a in of_kind(parts(run)[0], "artifact") if a.type == "model")
    assert start.use_after_commit
    assert not best.use_after_commit
    assert set(best.aliases) == {"best", "latest"}
    for found, file in ((start, pretrained), (best, run.path / "checkpoints" / "best.ckpt")):
        facts = checkpoints.identify(file)
        assert found.name == f"weights-{facts['sha256']}"
        assert json.loads(found.metadata)["run"] == facts["run"]
        assert [entry.path for entry in found.manifest.contents] == ["identity.json"]  # no weights


def test_the_same_run_is_tensorboards_and_mlflows_too(made: tuple[Path, genlab.Run]) -> None:
    for name in LOGGERS:
        pytest.importorskip(name, reason="genlab[loggers] is not installed")
    _, run = made
    board, (client, stored) = of_tensorboard(run), of_mlflow(run)
    for key in ("test/accuracy", "best/val/loss"):
        assert board.Scalars(key)[-1].value == pytest.approx(run.metrics[key])
        assert stored.data.metrics[key] == pytest.approx(run.metrics[key])
    assert stored.data.tags["mlflow.runName"] == "first try"
    assert board.Images("pictures/confusion")
    (file,) = client.list_artifacts(stored.info.run_id, "pictures")
    assert file.path.startswith("pictures/confusion")


@pytest.mark.slow
def test_without_wandb_an_evaluation_tells_it_nothing(
    made: tuple[Path, genlab.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = made
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    before = sorted(copy.glob("wandb/*"))
    for words in ({"track.wandb": "off"}, {"data.limit": 400}):
        genlab.evaluate(copy, words)
    assert sorted(copy.glob("wandb/*")) == before
    text = (copy / "recipe.yaml").read_text()
    for written, said in (
        (text.replace("wandb: offline", "wandb: 3"), "W&B is not told: track.wandb must be one of"),
        (text + "\ntrack: 3\n", "only: measured beside a damaged recipe.yaml"),
    ):
        (copy / "recipe.yaml").write_text(written)
        capsys.readouterr()
        genlab.evaluate(copy, k=3)
        assert said in capsys.readouterr().err
    assert sorted(copy.glob("wandb/*")) == before
