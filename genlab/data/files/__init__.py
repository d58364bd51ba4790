"""Images in files.

`folder_scan` finds classes and parts, `folder_index` keeps a folder's list, `reader` and `decoding`
read images, `download` fetches data sets, `cifar` reads CIFAR's pickles by a restricted unpickler.
"""
