"""Photos become numbers, once: extractors, the store that keeps their features, pooling of views."""
