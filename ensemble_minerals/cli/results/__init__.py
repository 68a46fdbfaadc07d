"""Results of commands, as they are printed."""
