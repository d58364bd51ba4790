"""Images in tar shards: `packing` and its `plan`, their `index`, and the `reader`.

`origins` lists what can be packed, `detail` says what packing leaves of crops,
`foreign` lists tar files of others, `pieces` reads images inside files of any kind.
"""
