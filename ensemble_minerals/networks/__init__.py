"""Everything that needs torch: pretrained networks, training, inference, graphs."""
