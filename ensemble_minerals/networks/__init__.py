"""Everything that needs torch: pretrained models, training, inference, attribution, exported graphs."""
