"""Networks of autoencoders.

`image_coders` (encoders and decoders by name), `conv`, `quantizer`, the priors over codes and
pixels, `pixelcnn` and `transformer`, and `made` (vectors in any order).
"""
