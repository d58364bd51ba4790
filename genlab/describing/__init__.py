"""Meanings of names: classes, keys, metrics and files, from docstrings read as text. No torch.

`source` finds definitions by name in genlab, in plugins and, with `foreign`, in installed packages,
`docstrings` takes Google docstrings apart, `classes` describes a class or function with its
arguments, `usage` tells which recipes name a class; `keys` and, inside the settings of an argument,
`nested` explain the keys of a recipe, `values` their values in one. `metrics` has the definitions
of logged metrics.
"""
