"""Keys inside the settings of an argument: where they are documented, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from genlab.describing import classes, docstrings, foreign, source
from genlab.describing.classes import Argument
from genlab.recipes import class_names

ENCODERS = "genlab.networks.encoders"
CODERS = "genlab.networks.autoencoders"
DENOISERS = "genlab.networks.denoisers"
LATENTS = "genlab.networks.latents"
PLACES = {  # functions and classes that take the keys of an argument
    "optimizer": ("genlab.optim.building.build", "genlab.optim.lars.LARS"),
    "pretrained_options": ("genlab.checkpoints.foreign.pretrained.load_backbone",),
    "encoder_kwargs": (
        f"{ENCODERS}.factory.encoder",
        f"{ENCODERS}.small_cnn.SmallCNN",
        f"{ENCODERS}.plain_mlp.PlainMLP",
        f"{ENCODERS}.lenet.LeNet",
        f"{ENCODERS}.nin.NiN",
        f"{CODERS}.image_coders.image_encoder",
        f"{CODERS}.conv.ConvEncoder",
        "genlab.networks.mlps.mlp",
    ),
    "decoder_kwargs": (
        f"{CODERS}.image_coders.image_decoder",
        f"{CODERS}.conv.ConvDecoder",
        f"{CODERS}.pixel_decoders.PixelCNNDecoder",
        "genlab.networks.mlps.mlp",
    ),
    "prior_kwargs": (
        f"{LATENTS}.priors.MixturePrior",
        f"{LATENTS}.priors.VampPrior",
        f"{LATENTS}.priors.FlowPrior",
    ),
    "posterior_kwargs": (
        f"{LATENTS}.posteriors.IAFPosterior",
        f"{LATENTS}.posteriors.CategoricalPosterior",
    ),
    "lfq": (f"{CODERS}.scalar_quantizers.LookupFreeQuantizer",),
    "perceptual_kwargs": (f"{ENCODERS}.factory.encoder",),
    "generator_kwargs": ("genlab.networks.gan.generators.generator",),
    "critic_kwargs": (
        "genlab.networks.gan.critics.critic",
        "genlab.networks.gan.patch_critics.PatchCritic",
    ),
    "network_kwargs": (
        f"{DENOISERS}.factory.denoiser",
        f"{DENOISERS}.unet.UNet",
        f"{DENOISERS}.dit.DiT",
        f"{DENOISERS}.point_mlp.PointMLP",
        f"{DENOISERS}.squash_mlp.SquashMLP",
    ),
    "views": ("genlab.augment.views.views_from", "genlab.augment.view.View"),
    "augment": ("genlab.augment.standard.Augment",),
    "strong": (
        "genlab.augment.rand_augment.strong_from",
        "genlab.augment.rand_augment.RandAugment",
        "genlab.augment.ct_augment.CTAugment",
    ),
    "labels": ("genlab.data.labels.budget.Budget",),
}
OF_DATA = ("views", "augment", "strong", "labels")
HOLDERS = {name: "data" if name in OF_DATA else "model" for name in PLACES}  # groups of recipes
TIMM = ("timm.models.vision_transformer.VisionTransformer", "timm.models.resnet.ResNet")
LARS = "genlab.optim.lars.LARS"
DEFAULTS = {"genlab.optim.building.build": ("genlab.optim.checking", "DEFAULTS")}
BY_PART = ("lr_scale",)  # settings whose keys are names of the method's parts
FILLED = {  # arguments that the program gives itself
    "name", "in_chans", "image_size", "channels", "in_channels", "out_channels", "out_dim",
    "in_dim", "dims", "out", "num_classes", "latent_dim", "module", "settings", "part", "repeats",
    "params", "model", "source", "pretrained", "pretrained_options", "options", "file", "seed",
    "bounded", "condition", "img_size", "block", "layers", "code_dim", "hidden",
}  # fmt: skip


def settings(argument: str, only: str = "") -> list[Argument]:
    """All documented keys of an argument's settings; a key of several networks once for each.

    Args:
        argument: its name, such as ``optimizer``.
        only: name of the encoder or optimiser whose keys alone are meant; empty for those of all.
    """
    return [one for place in places(argument, only) for one in of_place(place)]


def chosen(argument: str, named: Mapping[str, str]) -> str:
    """Name of the encoder or optimiser of a recipe whose settings an argument holds.

    Args:
        argument: name of the argument.
        named: see `values.named`.
    """
    return named.get("encoder" if argument == "encoder_kwargs" else argument, "")


def inside(argument: Argument, key: str, only: str = "") -> list[Argument]:
    """Meanings of a key in the settings of an argument; empty where it has no such key.

    Args:
        argument: the argument, or a key of its settings.
        key: name of the key.
        only: see `settings`.
    """
    for which in dict.fromkeys((only, "")):
        if found := [one for one in settings(argument.name, which) if one.name == key]:
            return found
    texts = [(p, entry.text) for p in places(argument.name) for entry in _spoken(p)]
    texts += [(argument.owner, argument.text)]
    for owner, text in texts:
        if docstrings.mentions(text, key):
            return [Argument(key, text, "", None, owner)]
    if argument.name in BY_PART:
        return [Argument(key, argument.text, "", None, argument.owner)]
    return [one for one in further(argument.name) if one.name == key]


def further(argument: str) -> list[Argument]:
    """Keys of an argument's settings that networks of timm and optimisers of torch take."""
    return [one for place in _foreign(argument) for one in of_place(place)]


def of_optimizers(key: str) -> bool:
    """True if an optimiser of torch documents a key; only files that hold its name are parsed."""
    homes = {path: foreign.file_of(path.rpartition(".")[0]) for path in optimizers()}
    likely = (path for path, file in homes.items() if file and key in source.text(file))
    found = (source.locate(path) for path in likely)
    return any(one.name == key for place in found if place for one in of_place(place))


def places(argument: str, only: str = "") -> list[source.Definition]:
    """Functions and classes that document the keys of an argument's settings, see `settings`."""
    paths = list(PLACES.get(argument, ()))
    if argument == "optimizer" and only not in ("", "lars"):
        paths.remove(LARS)
    if argument == "encoder_kwargs":
        own = _networks()
        named = next((path for pattern, path in own if re.fullmatch(pattern, only)), "")
        if named:
            paths = [paths[0], named]
        else:
            paths += [path for _, path in own]
            every = class_names.classes("networks").values()
            paths += [path for path in every if not path.startswith("genlab.")]
    return [one for path in paths if (one := source.locate(path)) is not None]


def _networks() -> list[tuple[str, str]]:
    """Patterns of the names of genlab's own encoders, each with its class's path."""
    text = source.text(source.ROOT / "networks" / "encoders" / "naming.py")
    modules = dict(re.findall(r"^from (\S+) import (\w+)$", text, re.M))
    homes = {name: module for module, name in modules.items()}
    rows = re.findall(r'^    \("\w+", r?"(\S+)", (\w+)\),$', text, re.M)
    return [(pattern, f"{homes[name]}.{name}") for pattern, name in rows]


def encoder(name: str) -> source.Definition | None:
    """The class or function that makes an encoder of a name, genlab's own or timm's."""
    own = next((path for pattern, path in _networks() if re.fullmatch(pattern, name)), "")
    if own:
        return source.locate(own)
    home = foreign.file_of("timm.models")
    made, files = re.compile(rf"^def {re.escape(name)}\(", re.M), home.parent if home else None
    modules = sorted(files.glob("[a-z]*.py")) if files and name.isidentifier() else []
    found = (file for file in modules if made.search(source.text(file)))
    return next((source.locate(f"timm.models.{file.stem}.{name}") for file in found), None)


@cache
def of_place(place: source.Definition) -> tuple[Argument, ...]:
    """Keys that a function or class documents, without those that the program gives itself."""
    built = source.constant(*DEFAULTS["genlab.optim.building.build"])
    defaults = built if place.path in DEFAULTS else {}
    known = {*FILLED, *(built if place.path == LARS else ())}  # given by what builds it
    found: list[Argument] = []
    for one in classes.describe(place).arguments:
        listed = docstrings.bullets(one.text)
        for name, entry in listed.items():
            default = defaults.get(name, entry.note or None)
            found.append(Argument(name, entry.text, "", default, place))
        usable = one.name not in known and not one.name.startswith("*") and one.text
        if usable and not listed:
            found.append(one)
    return tuple(found)


def _foreign(argument: str) -> list[source.Definition]:
    """Classes of timm and torch whose arguments are documented there; their files are long."""
    paths = {"encoder_kwargs": TIMM, "optimizer": optimizers()}.get(argument, ())
    return [one for path in paths if (one := source.locate(path)) is not None]


@cache
def optimizers() -> tuple[str, ...]:
    """Paths of torch's optimisers, without those of sparse gradients."""
    file = foreign.file_of("torch.optim")
    found = (
        re.findall(r"^from (torch\.optim\.\w+) import ([A-Z]\w+) as \2$", source.text(file), re.M)
        if file
        else []
    )
    return tuple(f"{m}.{name}" for m, name in found if name not in ("Optimizer", "SparseAdam"))


def _spoken(place: source.Definition) -> list[Argument]:
    """Arguments whose text may speak of further keys: ``**kwargs``, and a mapping's own."""
    return [
        one for one in classes.describe(place).arguments if one.name.startswith(("*", "options"))
    ]
