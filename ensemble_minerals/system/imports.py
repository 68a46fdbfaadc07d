"""Imports in a thread, during work that hardly takes Python's own time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread

from ensemble_minerals.system.cpu import short_switch_interval


@contextmanager
def imported_beside(*modules: str) -> Iterator[None]:
    """Import modules in a thread beside the block, which is over when both are done.

    The block should import nothing that they import, too: two threads that import one another's modules may see them
    half done. Who imports a module that cannot be imported will learn why.

    Example:
        >>> import sys
        >>> with imported_beside("json.tool"):
        ...     pass
        >>> "json.tool" in sys.modules
        True
    """

    def load() -> None:
        with suppress(Exception):
            for module in modules:
                import_module(module)

    thread = Thread(target=load, name="import")
    # An import hardly ever leaves the interpreter, for which the block would wait.
    with short_switch_interval():
        thread.start()
        try:
            yield
        finally:
            thread.join()
