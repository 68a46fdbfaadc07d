"""The commands, a few to a file; `cli` puts them together."""
