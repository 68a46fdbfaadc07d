"""What an ONNX file says of itself."""

from __future__ import annotations

from pathlib import Path

import onnx


def metadata_of(file: Path) -> dict[str, str]:
    """Its metadata."""
    model = onnx.load(str(file), load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}
