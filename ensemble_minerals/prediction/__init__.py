"""Predicting photos: with a bundle or a student, as a table."""
