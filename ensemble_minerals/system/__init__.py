"""What a program needs of its machine: files written whole, cores, workers, progress."""
