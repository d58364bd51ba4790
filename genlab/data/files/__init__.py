"""Images in files.

`folder_scan` finds classes and parts, `folder_index` keeps a folder's list, `table` reads others.
`reader` reads batches, made by `workers`: whole images by `decoding`, random crops by `cuts` out of
the `encoded` original.
`download` fetches data sets, `cifar` reads CIFAR's pickles by a restricted unpickler.
"""
