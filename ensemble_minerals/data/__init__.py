"""Files become rows: decoding, the manifest, photos of one object, folds, oversampling."""
