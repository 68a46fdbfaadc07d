"""Networks as they are built and loaded: architectures, weights, layers, what they expect of pixels."""
