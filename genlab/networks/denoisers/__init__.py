"""Networks that see a noisy image, a time and perhaps a class: `unet`, `point_mlp`, by `factory`.

`conditions` turns times and classes into vectors. Output and input have the same shape.
"""
