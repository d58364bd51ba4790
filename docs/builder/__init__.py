"""Pages of the site that are made from the code, the recipes and the command line.

`pages` is what mkdocs runs and lists every page; `methods`, `results`, `studies`, `reference`,
`commands` and `api` make them, with `tables` and `markdown`; `copies` has the files of the
repository that are pages too; `formulas` turns LaTeX into MathML. `pictures` draws the images of
methods' pages and the README's films.
"""
