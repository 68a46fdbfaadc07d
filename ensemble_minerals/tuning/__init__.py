"""Searching configurations on cached features, and what the search really gains."""
