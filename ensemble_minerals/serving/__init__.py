"""Serving a model: a page for people and an interface for programs, over HTTP."""
