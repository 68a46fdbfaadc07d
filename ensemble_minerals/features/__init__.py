"""Features of photos, computed once: extractors, the store of features, pooling of views."""
