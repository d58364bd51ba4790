"""Networks that see a noisy image, a time and perhaps a class, by `factory`.

`unet`, `dit`, `point_mlp` and `squash_mlp`; `conditions` turns times and classes into vectors.
Output and input have the same shape. `preconditioned` makes a denoiser of such a network;
`noise_levels` and `samplers` are diffusion's.
"""
