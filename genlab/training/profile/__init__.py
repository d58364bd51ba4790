"""Time of training steps: `steps` of the real fit loop, compared with a `bare_loop`."""
