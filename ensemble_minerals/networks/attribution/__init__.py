"""Which parts of a photo a network bases the log-odds of a class on."""
