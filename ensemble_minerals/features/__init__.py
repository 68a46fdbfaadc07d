"""An image becomes numbers, once: frozen backbones, a color and texture descriptor, and the feature store."""
