"""The stages of a fit: scan, plan, extract, group, split, train, score and save; each takes the former's result."""
