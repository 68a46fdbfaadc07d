"""Answers for new photos."""
