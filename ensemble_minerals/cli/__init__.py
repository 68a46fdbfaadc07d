"""The command line: each command reads its options, calls one workflow and prints the result."""
