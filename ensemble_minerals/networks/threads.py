"""Threads that PyTorch computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ensemble_minerals.system.cpu import ProcessSetting


def torch_threads(n_threads: int) -> AbstractContextManager[None]:
    """Context in which PyTorch computes with `n_threads` threads; the old number is restored at the end.

    For a few images one thread is nearly as fast as several. Where other programs use the cores it is much faster:
    several threads, which wait for each other, took a hundred times longer there. Part of the setting belongs to the
    process and part to the calling thread, so every thread that computes must enter its own context.
    """
    return _threads.held(n_threads)


def _read() -> int:
    import torch  # here, since modules that start without it import this one

    return torch.get_num_threads()


def _write(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)


_threads = ProcessSetting(_read, _write, per_thread=True)
