"""Everything that needs torch.

- `models`: building, loading and splitting networks.
- `training`: fine-tuning them on photos, in phases.
- `inference`: logits of fine-tuned networks.
- `graphs`: ensembles and students as one torch module, and as ONNX files.
- `attribution`: which parts of a photo the log-odds of a class are based on.

`devices`, `precision` and `threads` say where and how torch computes.
"""
