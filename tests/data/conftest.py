"""Fixtures that several tests of data share."""

from drawn.photo_folder import data

__all__ = ["data"]
