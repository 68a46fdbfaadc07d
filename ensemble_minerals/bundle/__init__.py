"""The saved ensemble: what is in it, how it is written whole, and how it is read back."""
