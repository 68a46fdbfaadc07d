"""Which photos show the same picture or the same object, so that they stay in one fold."""
