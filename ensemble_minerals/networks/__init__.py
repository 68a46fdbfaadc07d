"""Torch lives here: pretrained weights and trainable networks."""
