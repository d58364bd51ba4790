"""Fifty slips: small edits of the source of methods and of their losses, queues and codebooks.

The edited source is compiled in memory. A method in which a slip has no place is replaced by one
in which it has: BYOL gathers nothing, SimCLR and Barlow Twins have no momentum copy.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from genlab import checkpoints
from genlab.testing import Case

Edits = tuple[tuple[str, str, str], ...]  # module (empty: the method's), text, new text
CONTRASTIVE, REDUNDANCY = "losses.contrastive", "losses.redundancy"
TOKENIZERS, CODES = "networks.autoencoders.tokenizers", "methods._code_autoencoder"
QUEUE, EMA, QUANTIZER = "networks.queue", "networks.ema", "networks.autoencoders.quantizer"
BY_NAME = (f"{QUANTIZER}_factory", "def quantizer(", "def quantizer(")  # compiled anew, unedited
PRIOR = ("methods._code_prior", "class CodePrior", "class CodePrior")  # the same
METHODS: dict[str, str] = {
    "SimCLR": "simclr", "MoCo": "moco", "MoCoV3": "moco_v3", "BYOL": "byol",
    "BarlowTwins": "barlow_twins", "VQVAE": "vqvae", "WGANGP": "wgan_gp", "VQPrior": "vq_prior",
    "LinearProbe": "linear",
}  # fmt: skip
FIVE = ("SimCLR", "MoCo", "MoCoV3", "BYOL", "BarlowTwins")

GATHERED = "distributed.interleave(distributed.gather(keys.detach()))"
COUNTS = "torch.cat(parts, dim=1)"
COPIES = "self.encoder_ema, self.projector_ema = ema_copy(self.encoder), ema_copy(self.projector)"
HIDDEN = COPIES.replace(
    "self.encoder_ema, self.projector_ema",
    'self.__dict__["encoder_ema"], self.__dict__["projector_ema"]',
)
WANTED: Edits = ((EMA, "copy.deepcopy(module).requires_grad_(False)\n", "copy.deepcopy(module)\n"),)
KEY, TARGET = "    @torch.no_grad()\n    def key", "    @torch.no_grad()\n    def target"
AFTER = "self.after_step(self.global_step, optim.total_steps(self))"
PAIR = "view1, view2 = pair(batch)"
IN_CHUNKS = "in_chunks({}, chunks=self.chunks)"
EMBED = "self.projector(self.encoder(image))"
DETACHED = "self.projector(self.encoder(image).detach())"
STEPS = "        super().optimizer_step(*args, **kwargs)\n"


def _moved(call: str, condition: str = "") -> Edits:
    there = (("", f"{STEPS}        {call}\n", STEPS),)
    return (*there, ("", PAIR, f"{condition}{call}\n        {PAIR}"))


def _in_five(*edits: tuple[str, str]) -> dict[str, Edits]:
    return {name: tuple(("", *edit) for edit in edits) for name in FIVE}


LOSS = '{"loss": '
SLIPS: dict[str, tuple[str, dict[str, Edits]]] = {  # with the law that is to find it
    "GatherDropped": ("processes", {
        "SimCLR": (
            (CONTRASTIVE, "distributed.gather(a), distributed.gather(b)", "a, b"),
            (CONTRASTIVE, "first = distributed.rank() * len(a)", "first = 0"),
        ),
        "MoCo": ((QUEUE, GATHERED, "keys.detach()"),),
        "MoCoV3": (
            (CONTRASTIVE, "distributed.gather(k)", "k"),
            (CONTRASTIVE, "first = distributed.rank() * len(q)", "first = 0"),
        ),
        "BarlowTwins": ((REDUNDANCY, "distributed.all_reduce(a.T @ b / n)", "a.T @ b / n"),),
        "VQVAE": (
            (QUANTIZER, f"distributed.all_reduce_sum({COUNTS})", COUNTS), BY_NAME,
        ),
    }),
    "GatherWithoutGradientOrOrder": ("processes", {
        "SimCLR": ((CONTRASTIVE, "distributed.gather(", "distributed.gather_rows("),),
        "MoCo": ((QUEUE, GATHERED, "distributed.gather(keys.detach())"),),
        "MoCoV3": ((CONTRASTIVE, "first = distributed.rank() * len(q)", "first = 0"),),
        "BarlowTwins": ((REDUNDANCY, "distributed.all_reduce(", "distributed.all_reduce_sum("),),
        "VQVAE": ((QUANTIZER, "(len(rows) * world)", "len(rows)"), BY_NAME),
    }),
    "LossOverWorld": ("processes", _in_five((LOSS, f"{LOSS}1 / self.trainer.world_size * "))),
    "BufferMadeAttribute": ("resume", {
        "MoCo": ((QUEUE, 'self.register_buffer("keys", ', "self.__dict__.update(keys="),),
        "VQVAE": (
            (QUANTIZER, 'self.register_buffer("embed_avg", ', "self.__dict__.update(embed_avg="),
            BY_NAME,
        ),
        "MoCoV3": (("", COPIES, HIDDEN),),
        "BYOL": (("", COPIES, HIDDEN),),
        "WGANGP": (("", "self.generator_ema = ", 'self.__dict__["generator_ema"] = '),),
    }),
    "NoGradRemoved": ("gradients", {
        "MoCo": (*WANTED, ("", KEY, "    def key")),
        "MoCoV3": (*WANTED, ("", KEY, "    def key")),
        "BYOL": (*WANTED, ("", TARGET, "    def target")),
        "VQPrior": ((TOKENIZERS, ".requires_grad_(False).eval()", ".eval()"), PRIOR),
        "LinearProbe": (("", '        self.encoder.freeze("all")\n', ""),),
    }),
    "DetachAdded": ("gradients", {
        "SimCLR": (("", IN_CHUNKS.format("[view1, view2], *asked"), f"self.projector("
                    f"{IN_CHUNKS.format('[view1, view2], self.encoder')}.detach())"),),
        "MoCo": (("", EMBED, DETACHED),),
        "MoCoV3": (("", IN_CHUNKS.format("v, *asked"),
                    "self.predictor(self.projector(self.encoder(v).detach()))"),),
        "BYOL": (("", EMBED, DETACHED),),
        "BarlowTwins": (("", IN_CHUNKS.format("v, *asked"),
                         "self.projector(self.encoder(v).detach())"),),
    }),
    "MovedInTheStep": ("once", {
        "MoCo": _moved("self.after_step()", "if self.pending:\n            "),
        "MoCoV3": _moved(AFTER),
        "BYOL": _moved(AFTER),
        "VQVAE": (
            (CODES, f"{STEPS}        self.quantizer.update()\n", STEPS),
            ("", "        _, codes, ", "        self.quantizer.update()\n        _, codes, "),
        ),
        "WGANGP": (
            ("", "        self.generator_ema.update(self.generator, self.global_step)\n", ""),
            ("", "        self.critic_steps += 1", "        self.generator_ema.update("
                "self.generator, self.global_step)\n        self.critic_steps += 1"),
        ),
    }),
    "SumForMean": ("repeat", _in_five((LOSS, f"{LOSS}len(view1) * "))),
    "NumbersOfPython": ("order", _in_five(
        (PAIR, f"{PAIR}\n        view1 = view1 * (1 + random.random() / 10)"),
        ("import lightning as L\n", "import random\nimport lightning as L\n"),
    )),
    "ValueRead": ("reads", _in_five(
        (PAIR, f"{PAIR}\n        assert float(view1.amax()) < 1e9"),
    )),
}  # fmt: skip


def _mutant(name: str, method: str, edits: Edits) -> type[Any]:
    """A method's class from edited source, importable from here as ``name``."""
    own = f"methods.{METHODS[method]}"
    texts = {own: _source(own)}
    for part, old, new in edits:
        text = texts.get(part or own) or _source(part)
        assert old in text, f"{name}: {old!r} is not in {part or own}"
        texts[part or own] = text.replace(old, new)
    scope = _compiled(name, own, texts.pop(own))
    edited: dict[str, Any] = {}
    for part, text in texts.items():
        module = _compiled(name, part, text)
        module |= {k: v for k, v in edited.items() if k in module}
        fresh = {k: v for k, v in module.items() if _defined_here(v)}
        edited |= fresh
        scope |= {k: v for k, v in fresh.items() if k in scope}
        for short in ("losses", part.rpartition(".")[2]):
            if short in scope:
                scope[short] = SimpleNamespace(**(vars(scope[short]) | fresh))
    kind: type[Any] = scope[method]
    kind.__bases__ = tuple(scope.get(base.__name__, base) for base in kind.__bases__)
    kind.__qualname__ = name
    return kind


def _source(part: str) -> str:
    found = importlib.util.find_spec(f"genlab.{part}")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_text()


def _compiled(name: str, part: str, text: str) -> dict[str, Any]:
    """The names of a module of this source; what it defines can be pickled."""
    scope: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, f"mutants/{part}.py", "exec"), scope)
    for key, value in scope.items():
        if _defined_here(value):
            value.__qualname__ = f"{name}_{key}"
            globals()[value.__qualname__] = value
    return scope


def _defined_here(value: Any) -> bool:
    return isinstance(value, type | FunctionType) and value.__module__ == __name__


def rebuilt(case: Case, kind: type[Any]) -> Case:
    """The case with a method of another class, of the same arguments and weights."""
    made = []
    for method in (case.method, case.plain):
        other = kind(**checkpoints.spec(method)["init_args"]).train()
        other.load_state_dict(method.state_dict(), strict=False)
        made.append(other)
    return replace(case, method=made[0], plain=made[1], made={})


MUTANTS: dict[str, tuple[type[Any], str, str]] = {}  # class, recipe, law
for _slip, (_law, _places) in SLIPS.items():
    for _method, _edits in _places.items():
        _name = f"{_slip}{_method}"
        globals()[_name] = _mutant(_name, _method, _edits)
        MUTANTS[_name] = globals()[_name], f"{METHODS[_method]}/digits", _law
