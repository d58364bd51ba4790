"""Images in files.

`folder_scan` finds classes and parts, `folder_walk` walks a folder, `folder_index` keeps its list,
`table` reads others, `file_names` are paths in little memory, `cache` says where lists are kept.
`named_parts` tells parts by files' names, `label_names` numbers classes, `imagenet` finds that set.
`dataset_folder` finds the Arrow and Parquet files of a data set, `arrow` the images in them, `hub`
fetches them from the Hugging Face hub.
`reader` reads batches, made by `workers`: whole images by `centre` and `decoding`, random crops by
`cuts` out of the `encoded` original, or by a GPU (`on_gpu`); 16 bits by `sixteen`. `orientation`
says how an image is turned.
`download` fetches data sets, `cifar` reads CIFAR's pickles by a restricted unpickler, `drawings`
Omniglot's characters.
"""
