"""Plan of a training before it is queued: memory, arithmetic, communication and hours.

`plan` puts a recipe's plan together: `capacity` is the memory of a GPU, `room` the largest batch,
found by a `search`, `changes` make room for more, `hours` the bounds of a step. `gpus` has the
vendors' peaks and all assumptions, `length` a recipe's images and steps, `loading` the speed of
its loader on this machine. `queueing` is a line for a job.
`banks` hold the features of all images. A `step` of one process is counted with `fake` tensors:
`batches` and weights of full size, `valueless`, of the types of CUDA's `autocast`, and an `inner`
model that is untrained; `watching` tells `counting` what it counts, `kernels` are what a device
starts, and `reads` answers what asks for a value.
`faults` are what an `exam` finds wrong in a `rehearsal`: on the tensors of a GPU, and as
one of many processes.
"""
