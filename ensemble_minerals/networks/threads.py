"""Threads that PyTorch computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ensemble_minerals.system.cpu import ProcessSetting


def torch_threads(n_threads: int) -> AbstractContextManager[None]:
    """Let PyTorch compute with so many threads, and afterwards with as many as before.

    For a handful of pictures one is nearly as quick as several, and it does not wait at barriers where other
    programs use the cores: there several threads took a hundred times longer. The number is partly the process's
    and partly the calling thread's, so every thread that computes holds its own.
    """
    return _threads.held(n_threads)


def _read() -> int:
    import torch  # here, since modules that start without it import this one

    return torch.get_num_threads()


def _write(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)


_threads = ProcessSetting(_read, _write, of_threads=True)
