"""Networks of autoencoders.

`image_coders` (encoders and decoders by name), `conv`, quantisers by name (`quantizer_factory`):
`quantizer`, `residual_quantizer`, `sim_quantizer`, `scalar_quantizers`, `gumbel_quantizer`; the
priors over codes and pixels, `pixelcnn` and `transformer`, `made` (vectors in any order), and
`pixel_decoders` (distributions of an image given latents).
"""
