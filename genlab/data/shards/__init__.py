"""Pictures in tar shards: packing, their index, reading."""
