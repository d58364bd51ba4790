"""Arrays as images; matplotlib is imported here only.

`grid` tiles images and writes them into a run, `columns` gives them titles, `lettering` puts text
around a grid, `retrieval` frames those found for others, `text` writes; `points` draws points in
the plane and densities; `tokens` paints patches; `spectra` draws power by frequency; `charts` makes
matplotlib canvases; `may_fail` lets a run go on without an image.
"""
