"""Files of a run directory: content of each, its writer and its readers. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class RunFile:
    """A file or folder of a run directory.

    Args:
        name: its path inside the directory; ``<step>`` and the like stand for any text, a folder
            ends in a slash.
        text: its content.
        writer: command or class that writes it, and when.
        readers: commands that read it.
    """

    name: str
    text: str
    writer: str
    readers: str

    def means(self, path: PurePath) -> bool:
        """True if a path ends in this file's, or lies in this folder."""
        parts = self.name.rstrip("/").split("/")
        given = path.parts
        starts = range(len(given)) if self.name.endswith("/") else [len(given) - len(parts)]
        return any(
            k >= 0
            and len(given[k : k + len(parts)]) == len(parts)
            and all(map(_fits, parts, given[k : k + len(parts)]))
            for k in starts
        )


def _fits(pattern: str, part: str) -> bool:
    pieces = re.split(r"<\w+>", pattern)
    return re.fullmatch(".+".join(map(re.escape, pieces)), part) is not None


def find(path: PurePath) -> RunFile | None:
    """The file of a run that a path means, by its end; None if it is none."""
    return next((one for one in FILES if one.means(path)), None)


def named(name: str) -> RunFile | None:
    """The file of a run that has a name, in whatever folder; None if none has.

    A name like ``<step>.png``, which begins with a placeholder, means none of its own.
    """
    names = {PurePath(one.name).name: one for one in reversed(FILES)}
    fitting = (own for own in names if own[0] != "<" and name.islower() and _fits(own, name))
    return names.get(name) or names.get(next(fitting, ""))


def _checkpoint(name: str, text: str) -> RunFile:
    return RunFile(
        f"checkpoints/{name}", text, "the trainer, at an optimiser step's end and by one rename",
        "genlab fit --resume, evaluate, test, sample, embed, export; model.pretrained=RUN",
    )  # fmt: skip


def _picture(name: str, text: str, writer: str) -> RunFile:
    return RunFile(f"pictures/{name}", text, writer, "you; W&B has a copy")


WATCHED = "genlab compare; you"
FILES = (  # the more exact ones before the folders that hold them
    RunFile("recipe.yaml", "The resolved recipe, defaults included: it runs by itself.",
            "genlab fit, at the first step", "every command that takes a run; genlab show RUN"),
    RunFile("run.json", "Facts: seed, start, commands with what each changed, versions, machine,"
            " Slurm job, names of the classes, W&B id; fingerprint, code, data, parents; how it"
            " stopped or failed.",
            "genlab fit, at every start and at an unusual end",
            "genlab compare, jobs, export; --resume"),
    RunFile("code/<hash>.patch", "How files in git differed from their revision when the run"
            " started; run.json names both. git apply makes that code.",
            "genlab fit, unless track.diff is false", "you; no export and no upload has it"),
    RunFile("code/", "Differences of the code from its revisions in git, one file each.",
            "genlab fit, unless track.diff is false", "you; no export and no upload has it"),
    RunFile("metrics.csv", "Logged metrics: a row a time, a column a metric; genlab explain KEY"
            " defines each.", "the trainer, every trainer.log_every_n_steps and validation",
            f"{WATCHED}; --resume drops the rows that it repeats"),
    RunFile("metrics.json", "Final metrics: last validation, best one (best/...), test (test/...),"
            " its checkpoint, steps and seconds; later ones of it (evaluate/...).",
            "genlab fit, at the end; genlab evaluate and test",
            "genlab compare, sweep, crossval, export; a run that has one is finished"),
    RunFile("splits.npz", "Positions of the images of train, val and test in the data set.",
            "genlab fit, at the first step", "--resume, which refuses other splits"),
    RunFile("labels.json", "Images whose labels a semi-supervised run uses: their positions, counts"
            " of each class, checksum of the data.", "genlab fit with data.labels",
            "--resume, which refuses others; data.labels=FILE of another run"),
    RunFile("trust.json", "Classes outside genlab that the run may load.", "genlab fit; --trust",
            "every command that opens the run"),
    RunFile("per_class.csv", "Images, precision, recall and F1 of every class in the last test.",
            "ConfusionMatrix, after a test", "you"),
    _checkpoint("best.ckpt", "State at the best validation by checkpoint.monitor: weights,"
                " optimiser, position in the data, generators, recipe."),
    _checkpoint("last.ckpt", "State at the last write, at most checkpoint.every_n_seconds old; at"
                " the end that of the last step. A killed run continues from it bit for bit."),
    _checkpoint("step-<step>.ckpt", "State at a step, every checkpoint.keep_every_n_steps; all are"
                " kept."),
    RunFile("links/step-<step>.ckpt", "A whole state of the training, as a checkpoint: a link.",
            "the trainer, with track.links", "genlab verify"),
    RunFile("links/links.json", "Every link's step, its file's SHA-256, the hash of its state and"
            " of the state some steps later; the machine.", "the trainer, with track.links",
            "genlab verify"),
    RunFile("links/files.json", "SHA-256 of the files that only training writes, hashes of the"
            " states in last.ckpt and best.ckpt.", "genlab fit, at its end, with track.links",
            "genlab verify"),
    RunFile("links/", "States of the training and their hashes, by which it can be checked.",
            "the trainer, with track.links", "genlab verify"),
    RunFile("nonfinite/before.ckpt", "State before the step whose loss or gradient was not finite.",
            "the guard of track.nonfinite", "genlab replay RUN"),
    RunFile("nonfinite/step.json", "Facts of that step: its loss, images and first bad tensor.",
            "the guard of track.nonfinite", "genlab replay RUN"),
    RunFile("nonfinite/", "The step that was not finite: the state before it, and its facts.",
            "the guard of track.nonfinite", "genlab replay RUN"),
    _picture("film/<step>.png", "A frame of the film.", "Film, so that a resumed run completes it"),
    _picture("film.<format>", "The training as a film: samples from the same noise.", "Film"),
    _picture("samples-<step>.png", "Samples from the same noise as in every other such image.",
             "Pictures"),
    _picture("reconstructions-<step>.png", "Validation images, each above its reconstruction.",
             "Pictures"),
    _picture("styles-<step>.png", "Images, each with its style in every class.", "Pictures"),
    _picture("plane-<step>.png", "Points of the data, samples, and the density where there is one.",
             "PlanePictures"),
    _picture("views.png", "First training images, each with its views.", "ViewPictures"),
    _picture("similarities-<step>.png", "Histograms of the cosines of positive and negative pairs.",
             "SimilarityHistogram"),
    _picture("task-<step>.png", "Pretext task of validation images: input, target, output;"
             " blue frames: right answer, orange: wrong.", "TaskPictures"),
    _picture("tokens-<step>.png", "Validation images, principal components of their patches' tokens"
             " in colour, attention of each head.", "TokenPictures"),
    _picture("retrieval.png", "Validation images, each with the training images nearest in feature"
             " space; blue frames: same class, orange: another.", "RetrievalPictures"),
    _picture("loss_probe.png", "Accuracy of kNN and probe against the loss, coloured by step.",
             "LossAgainstProbe"),
    _picture("gradient_norms-<step>.png", "Histogram of the norms of the critic's gradient.",
             "GradientNorms"),
    _picture("confusion.png", "Confusion matrix of the last test, rows true.", "ConfusionMatrix"),
    _picture("embedding.png", "Test features in two dimensions, PCA or --tsne.", "genlab evaluate"),
    _picture("measured_<name>.png", "Attacked, filtered or occluded images and the like.",
             "genlab evaluate --measure"),
    _picture("retrieval_test.png", "Test images, each with the training images nearest in feature"
             " space; blue frames: same class, orange: another.", "genlab evaluate"),
    _picture("embedding-<data>.png", "The same of other data than the run's.",
             "genlab evaluate RUN data=OTHER"),
    _picture("retrieval_test-<data>.png", "The same of other data than the run's.",
             "genlab evaluate RUN data=OTHER"),
    _picture("neighbours.png", "Samples, each with its nearest training images.",
             "genlab evaluate --judge"),
    _picture("spectrum.png", "Mean power by spatial frequency of samples and real images.",
             "genlab evaluate --judge"),
    _picture("sample.png", "Samples of a checkpoint.", "genlab sample"),
    _picture("sample-<settings>.png", "Samples with another label, temperature or seed.",
             "genlab sample --label, --temperature, --seed"),
    _picture("reconstruct.png", "Test images and their reconstructions.", "genlab reconstruct"),
    _picture("interpolate.png", "Paths between the codes of images.", "genlab interpolate"),
    RunFile("pictures/", "Images that training and commands draw.", "callbacks, genlab sample ...",
            "you; W&B has a copy"),
    RunFile("report.html", "The run on one page for any browser: metrics, curves, images, settings,"
            " history, cost.", "genlab report", "you"),
    RunFile("evaluations/<time>-<kind>.json", "A later measurement: command, checkpoint with its"
            " checksum, data, figures, judge, versions, time.", "genlab evaluate, test, validate",
            "genlab fit --resume and evaluate, for metrics.json"),
    RunFile("evaluations/", "Later measurements, a file each.", "genlab evaluate, test, validate",
            "genlab fit --resume and evaluate, for metrics.json"),
    RunFile("other_data/", "Figures by class of tests on other data, a folder each.",
            "genlab test RUN data.root=FOLDER", "you"),
    RunFile("wandb/", "What W&B's client keeps: settings, summary, its log; of an offline run all"
            " that is uploaded later.", "track.wandb", "genlab sync"),
    RunFile("tensorboard/", "Events of a logger: metrics and images.",
            "track.loggers=[tensorboard]", "tensorboard --logdir runs"),
    RunFile("mlruns/", "MLflow's file store: metrics, parameters and images of the run.",
            "track.loggers=[mlflow]", "mlflow ui --backend-store-uri RUN/mlruns"),
    RunFile("checkpoints/", "Checkpoints: last.ckpt, best.ckpt and, if asked for, step-N.ckpt.",
            "the trainer", "every command that takes a run"),
    RunFile(".lock", "Name of the process that trains in the directory now.", "genlab fit",
            "a second genlab fit, which is refused"),
    RunFile("<id>.tar.gz", "A whole run as one file, in the place of its directory.",
            "genlab runs archive", "genlab runs archive --restore"),
    RunFile("<id>.tar.gz.sha256", "Checksum of an archive, as sha256sum writes it.",
            "genlab runs archive", "genlab runs archive --restore; sha256sum -c"),
    RunFile(".registry.json", "Facts and metrics of all runs below the folder, with the mark of the"
            " files that they were read from.", "genlab runs", "genlab runs; it may be removed"),
    RunFile(".registry-settings.json", "Settings of all runs below the folder.",
            "genlab runs --where, --csv", "genlab runs; it may be removed"),
    RunFile(".limit.lock", "Lock of the process that keeps the limit; empty.", "track.keep_gb",
            "track.keep_gb; it may be removed"),
    RunFile("slurm-<job>.log", "Output of a Slurm job, next to its run.", "Slurm",
            "genlab jobs; you"),
)  # fmt: skip
FACTS = {  # of run.json, those that say where a run comes from
    "fingerprint": "Hash of settings, imported code and versions of torch and timm. Two runs with"
    " the same fingerprint and seed are the same run; comments, folders, docstrings and track are"
    " not in it. Checkpoints have it too.",
    "history": "Starts of the run: time, command, first step, changed settings, fingerprint, and"
    " git where it is another than before.",
    "git": "Checkouts of genlab, of the working directory and of plugins: revision, whether it is"
    " changed, and the patch in code/ or why there is none.",
    "files_not_in_git": "Sizes and SHA-256 of imported files, and files of plugins, that git does"
    " not know.",
    "parents": "Networks that training started from, by argument: run and folder, file, SHA-256,"
    " step, fingerprint, seed, its metrics.",
}
