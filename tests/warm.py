"""Imported last by the server that forks: what most commands of the tests load, parse and read."""

from __future__ import annotations

import gc

import genlab.callbacks.confusion_matrix
import genlab.callbacks.pictures
import genlab.cli.fit
import genlab.data.digits
import genlab.methods.vae  # noqa: F401
from genlab import recipes
from genlab.recipes import class_names, fingerprints
from genlab.training import parsing, refusals

for package in class_names.ROOTS:
    class_names.classes(package)
for group, kind in refusals.GROUPS.items():
    parsing._parser(kind, group)
fingerprints.fingerprint(recipes.resolve(["vae/digits"]))
gc.freeze()
