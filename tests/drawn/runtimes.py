from __future__ import annotations

from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime


class Told:
    """Progress that hands the steps of every stage to a function."""

    def __init__(self, on_step):
        self.on_step = on_step

    def stage(self, name):
        return self.on_step

    def note(self, text):
        pass


class Notes(Silent):
    """Progress that remembers the notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def runtime(on_step=None, **settings):
    """How a job runs; steps of its progress are handed to a function."""
    return Runtime(progress=Silent() if on_step is None else Told(on_step), **settings)
