"""Networks of autoencoders.

`image_coders` (encoders and decoders by name), `conv`, quantisers by name (`quantizer_factory`):
`quantizer`, `residual_quantizer`, `sim_quantizer`, `scalar_quantizers`, `gumbel_quantizer`;
`tokenizers` (frozen ones), the priors over codes and pixels, `pixelcnn`, `transformer`,
`masked_transformer`, `made` (vectors in any order), and `pixel_decoders` (distributions of an image
given latents).
"""
