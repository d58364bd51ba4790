"""Transforms of images that pretext tasks ask a network to undo, batched and without state.

`rotation` turns images by quarters; `tiles` cuts windows, which `permutations` put in another
order; `holes` hide squares; `colour_bins` divide the colour plane. `draws.for_images`
gives each image its random parameters: anew in every training batch, always the same in validation.
"""
