"""Images in tar shards: `packing`, their `index`, and the `reader`; `pieces` of other files."""
