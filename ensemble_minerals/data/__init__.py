"""A folder of photos becomes rows: decoding, the manifest, duplicates, folds, sampling, the demonstration set."""
