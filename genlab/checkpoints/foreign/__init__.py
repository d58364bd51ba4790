"""Loading of others' weights into a backbone.

`pretrained` is the way in; `fetching` finds the file (`download`), `layouts` recognises its
contents (`torchvision_names`), `matching` and `adaptation` fit them to the model, `architecture`
asks which network they are of, `refusals` (with `lookalike`) and `report` say what happened;
`heads` are classifiers.
"""
