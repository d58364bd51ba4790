"""Few labels.

`budget` chooses the labelled images, `file` keeps the choice as ``labels.json``, `two_streams`
loads labelled and unlabelled images, `semi_supervised` puts these together for a data module, and
`learned_augment` feeds CTAugment.
"""
