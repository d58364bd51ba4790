"""Transforms of images that pretext tasks ask a network to undo, batched and without state.

`rotation` turns images by quarters. `drawing` gives each image its random parameters: anew in
every training batch, always the same in validation.
"""
