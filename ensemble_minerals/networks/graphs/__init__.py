"""Ensembles and students as one torch module, from photos to calibrated probabilities, and as ONNX files."""
