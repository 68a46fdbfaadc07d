"""Building and loading networks: architectures, weights, preprocessing, blocks, heads."""
