"""Networks of autoencoders.

`image_coders` (encoders and decoders by name), `conv`, `quantizer`, the priors over codes and
pixels, `pixelcnn` and `transformer`, `made` (vectors in any order), and `pixel_decoders`
(distributions of an image given latents).
"""
