"""Mutants of a saved folder: one thing in one file is changed, and the digests are made right again."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

from ensemble_minerals.features.extractor import fingerprint_of
from ensemble_minerals.system.digest import file_digest

HOSTILE = (
    None, True, False, 0, -1, 1, 0.0, -0.5, 1e308, 10**30, float("nan"), float("inf"), "", "x", "NaN",
    "../../etc/passwd", "/dev/zero", "a\0b", "C:\\x", [], {}, [[]], {"a": 1}, [None], "random", "y" * 100_000,
)  # fmt: skip
DTYPES = ("F32", "F64", "F16", "BF16", "I64", "I32", "U8", "BOOL")
FLOATS = (float("nan"), float("inf"), float.fromhex("0x1.fffffep127"), -1.0)
INTEGERS = (-1, 1 << 62, -(1 << 63), 10**6)
NUMBERS = {
    "F32": [struct.pack("<f", number) for number in FLOATS],
    "F64": [struct.pack("<d", number) for number in FLOATS],
    "I64": [struct.pack("<q", number) for number in INTEGERS],
}


def mutate(source: Path, folder: Path, marker: str, seed: int) -> str:
    """Copy a saved folder with one thing in it changed.

    Args:
        source: The folder.
        folder: The copy; it may not exist.
        marker: Name of its index.
        seed: Of the change.

    Returns:
        What was changed, in words.
    """
    rng = random.Random(seed)
    shutil.copytree(source, folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    file = files[seed % len(files)]  # every file has its turn
    change = {
        ".json": _change_json, ".safetensors": _change_arrays, ".csv": _change_table, ".yaml": _change_line,
    }.get(file.suffix, _change_bytes)  # fmt: skip
    said = _change_bytes(file, rng) if rng.random() < 0.2 else change(file, rng)
    if file.name != marker:
        reseal(folder, marker)
    return f"{file.relative_to(folder).as_posix()}: {said}"


def reseal(folder: Path, marker: str) -> None:
    """Make the digests in an index those of the files, of trained networks also where they are facts."""
    index = json.loads((folder / marker).read_text(encoding="utf-8"))
    index["files"] = {name: file_digest(folder / name) for name in index["files"]}
    for extractor, names in index.get("networks", {}).items():
        entry = index["sources"][extractor]
        entry["facts"]["states"] = [index["files"][name] for name in names]
        entry["fingerprint"] = fingerprint_of(entry["facts"])
    (folder / marker).write_text(json.dumps(index), encoding="utf-8")


def _change_json(file: Path, rng: random.Random) -> str:
    values = json.loads(file.read_text(encoding="utf-8"))
    said = _change_value(values, rng)
    file.write_text(json.dumps(values), encoding="utf-8")
    return said


def _change_value(values: Any, rng: random.Random) -> str:
    """Change something in JSON values."""
    holder, path = values, []
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        path.append(str(key))
        if not (isinstance(holder[key], dict | list) and holder[key]) or rng.random() < 0.25:
            break
        holder = holder[key]
    kind = rng.choice(("replace", "replace", "replace", "delete", "double", "nest"))
    if kind == "delete":
        del holder[key]
    elif kind == "double":
        holder[key] = [holder[key], holder[key]]
    elif kind == "nest":
        for _ in range(rng.choice((3, 90))):
            holder[key] = [holder[key]]
    else:
        holder[key] = rng.choice(HOSTILE)
        kind = f"{str(holder[key])[:30]!r}"
    return f"{'.'.join(path)}: {kind}"


def _change_arrays(file: Path, rng: random.Random) -> str:
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    arrays = [name for name in header if name != "__metadata__"]
    name = rng.choice(arrays)
    kind = rng.choice(("number", "number", "dtype", "shape", "rename", "drop", "stated"))
    if kind == "number":
        start, stop = header[name]["data_offsets"]
        number = rng.choice(NUMBERS[header[name]["dtype"]])
        at = start + len(number) * rng.randrange(max(1, (stop - start) // len(number)))
        body[at : at + len(number)] = number
        kind = f"number {number.hex()}"
    elif kind == "dtype":
        header[name]["dtype"] = rng.choice(DTYPES)
    elif kind == "shape":
        shape = header[name]["shape"]
        header[name]["shape"] = rng.choice((shape[::-1], [*shape, 1], [1, *shape], shape[:-1], [10**9], []))
    elif kind == "rename":
        header[rng.choice((name + "x", "0.0.0.0.weight", "../a", "x" * 5000))] = header.pop(name)
    elif kind == "drop":
        header = {key: value for key, value in header.items() if key != name}
    elif header.get("__metadata__"):
        key = rng.choice(list(header["__metadata__"]))
        stated = json.loads(header["__metadata__"][key])
        kind = _change_value(stated, rng)
        header["__metadata__"][key] = json.dumps(stated)
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    file.write_bytes(len(written).to_bytes(8, "little") + written + bytes(body))
    return f"{name}: {kind}"


def _change_table(file: Path, rng: random.Random) -> str:
    rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    row = rng.choice(rows)
    column = rng.randrange(len(row))
    row[column] = rng.choice(("", "-1", "x", "9" * 30, "\0", "../../x", "/dev/zero", "1e9", '"', "nan"))
    file.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
    return f"cell {column}: {row[column]!r}"


def _change_line(file: Path, rng: random.Random) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    number = rng.randrange(len(lines))
    before, colon, after = lines[number].partition(":")
    lines[number] = rng.choice(
        ("", lines[number] * 2, before, f"{before}: -1", f"{before}: [", f"{before}x:{after}",
         f"{before}{colon} .inf", f"{before}: {'[' * 500}", f"{before}: /dev/zero.pth", f"{before}: {10**30}")
    )  # fmt: skip
    file.write_text("\n".join(lines), encoding="utf-8")
    return f"line {number}: {lines[number][:40]!r}"


def _change_bytes(file: Path, rng: random.Random) -> str:
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    kind = rng.choice(("flip", "cut", "insert"))
    if kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[at:]
    else:
        data[at:at] = rng.randbytes(3)
    file.write_bytes(bytes(data))
    return f"byte {at}: {kind}"
