"""The command line: a command parses, calls one workflow, prints."""
