"""Networks of autoencoders.

`image_coders` (encoders and decoders by name), `conv`, `quantizer`, and the priors over codes,
`pixelcnn` and `transformer`.
"""
