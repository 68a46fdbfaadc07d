"""The sections of the report, a file each: its numbers, words, figures and tables."""
