"""Saved models: the bundle of an ensemble and the student, their files, writing and reading."""
