"""A fitted ensemble or a student as one ONNX file."""
