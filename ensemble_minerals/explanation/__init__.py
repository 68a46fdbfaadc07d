"""What in a photo speaks for an answer: heat-maps, feature maps and votes."""
