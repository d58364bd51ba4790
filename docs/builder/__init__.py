"""Pages of the site that are made from the code, the recipes and the command line.

`pages` is what mkdocs runs and lists every page; `copies` has the files of the repository that are
pages too; `formulas` turns LaTeX into MathML.
"""
