"""A training inside a program that goes on: what it changes of the process, put back."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator

from genlab.cluster import signals

LOGGERS = ("lightning.pytorch", "lightning.fabric")


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Put back, at the end of this block, everything global that a training sets.

    These are the generators of Python, NumPy and torch, torch's threads and arithmetic switches,
    the environment, the modules' path, signal handlers, warning filters and Lightning's loggers.
    """
    with contextlib.ExitStack() as after:
        after.enter_context(warnings.catch_warnings())
        after.enter_context(_environment())
        after.enter_context(_handlers())
        after.enter_context(_generators())
        after.enter_context(_switches())
        after.callback(sys.path.__setitem__, slice(None), list(sys.path))
        for name in LOGGERS:
            after.callback(logging.getLogger(name).setLevel, logging.getLogger(name).level)
        yield


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _handlers() -> Iterator[None]:
    """Signal handlers and the mask; Python allows handlers in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signals.STRENGTH}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signals.let_go()
        for number, handler in before.items():
            if handler is not None:  # else it was not set from Python
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _generators() -> Iterator[None]:
    import numpy as np
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)


@contextlib.contextmanager
def _switches() -> Iterator[None]:
    """Threads, precision of products, and how torch chooses its kernels."""
    import torch

    cudnn = torch.backends.cudnn
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
