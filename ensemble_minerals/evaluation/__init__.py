"""Metrics, error analysis, ablation and the report that draws them."""
