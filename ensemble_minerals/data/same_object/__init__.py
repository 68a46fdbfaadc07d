"""Photos that show the same image or the same object: they must be in one fold."""
