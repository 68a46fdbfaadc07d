from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.data import hashing as module
from ensemble_minerals.data.hashing import Fingerprint, ScanCache, fingerprint, perceptual_hashes
from ensemble_minerals.system.runtime import DecodeLimits

LIMITS = DecodeLimits(max_pixels=1_000_000)


def blobs(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def photo_file(folder: Path, name: str = "a.png", seed: int = 0) -> Path:
    path = folder / name
    blobs(seed).save(path)
    return path


def bits(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_hashes_are_those_of_imagehash():
    for seed in range(5):
        image = blobs(seed)
        plain, mirrored = perceptual_hashes(np.array(image))
        assert f"{plain:016x}" == str(imagehash.phash(image))
        flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        assert bits(mirrored, perceptual_hashes(np.array(flipped))[0]) <= 2
        assert bits(plain, mirrored) > 10


def test_the_hash_of_a_large_photo_is_imagehash_s_but_for_a_few_bits():
    for seed in range(5):
        image = blobs(seed, 1100, 830)
        plain, mirrored = perceptual_hashes(np.array(image))
        flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for found, shown in ((plain, image), (mirrored, flipped)):
            assert bits(found, int(str(imagehash.phash(shown)), 16)) <= 6


def test_hashes_survive_scaling_and_compression(tmp_path):
    image = blobs(1, 300, 200)
    image.resize((150, 100)).save(tmp_path / "a.jpg", quality=40)
    again = perceptual_hashes(np.array(Image.open(tmp_path / "a.jpg")))
    assert bits(again[0], perceptual_hashes(np.array(image))[0]) <= 6
    assert bits(again[0], perceptual_hashes(np.array(blobs(2, 300, 200)))[0]) > 12


def test_one_look(tmp_path):
    made = fingerprint(photo_file(tmp_path), limits=LIMITS)
    assert (made.width, made.height, made.format, made.mode, made.reason) == (90, 70, "PNG", "RGB", "")
    assert len(made.image_id) == len(made.pixel_hash) == 32
    assert made.phash != made.phash_mirrored


def test_failures_are_reasons(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    unread = fingerprint(tmp_path / "text.png", limits=LIMITS)
    assert unread.reason.startswith("not_an_image: ")
    assert len(unread.image_id) == 32
    assert (unread.phash, unread.phash_mirrored, unread.width, unread.pixel_hash) == (0, 0, 0, "")
    missing = fingerprint(tmp_path / "absent.png", limits=LIMITS)
    assert missing.reason.startswith("missing: ")
    assert missing.image_id == ""
    assert str(tmp_path) not in unread.reason + missing.reason


def counting(monkeypatch) -> list[Path]:
    decoded: list[Path] = []
    original = module.decoded

    def spy(path, **options):
        decoded.append(path)
        return original(path, **options)

    monkeypatch.setattr(module, "decoded", spy)
    return decoded


def test_a_known_content_is_not_decoded_again(tmp_path, monkeypatch):
    decoded = counting(monkeypatch)
    path = photo_file(tmp_path)
    (tmp_path / "broken.png").write_bytes(path.read_bytes()[:200])
    with ScanCache(tmp_path / "deep" / "cache.sqlite") as cache:
        first = [fingerprint(tmp_path / name, cache=cache, limits=LIMITS) for name in ("a.png", "broken.png")]
    path.rename(tmp_path / "renamed.png")
    with ScanCache(tmp_path / "deep" / "cache.sqlite") as cache:
        again = [
            fingerprint(tmp_path / name, cache=cache, limits=LIMITS) for name in ("renamed.png", "broken.png")
        ]
    assert again == first
    assert len(decoded) == 2
    assert first[1].reason.startswith("truncated")


@pytest.mark.parametrize("change", ["limits", "scanner", "decoder", "pillow", "content"])
def test_what_changes_the_answer_is_part_of_the_key(tmp_path, monkeypatch, change):
    decoded = counting(monkeypatch)
    path = photo_file(tmp_path)
    limits = LIMITS
    with ScanCache(tmp_path / "cache.sqlite") as cache:
        fingerprint(path, cache=cache, limits=limits)
        if change == "limits":
            limits = DecodeLimits(max_pixels=1_000_000, min_side=80)
        elif change == "scanner":
            monkeypatch.setattr(module, "SCANNER_VERSION", module.SCANNER_VERSION + 1)
        elif change == "decoder":
            monkeypatch.setattr(module, "DECODER_VERSION", module.DECODER_VERSION - 1)
        elif change == "pillow":
            monkeypatch.setattr(module.PIL, "__version__", "0.1")
        else:
            photo_file(tmp_path, seed=9)
        second = fingerprint(path, cache=cache, limits=limits)
    assert len(decoded) == 2
    assert second.reason.startswith("too_small") == (change == "limits")


@pytest.mark.parametrize(
    ("trouble", "reason"), [(MemoryError(), "too_large"), (OSError(5, "Input/output error"), "missing")]
)
def test_passing_troubles_are_not_remembered(tmp_path, monkeypatch, trouble, reason):
    path = photo_file(tmp_path)

    def fail(_):
        raise trouble

    with ScanCache(tmp_path / "cache.sqlite") as cache:
        with monkeypatch.context() as patch:
            patch.setattr("PIL.ImageFile.ImageFile.load", fail)
            assert fingerprint(path, cache=cache, limits=LIMITS).reason.startswith(reason)
        assert fingerprint(path, cache=cache, limits=LIMITS).reason == ""


def test_the_cache_keeps_64_unsigned_bits(tmp_path):
    made = Fingerprint("id", "pixels", 2**64 - 1, 2**63, 3, 4, "JPEG", "L", "")
    with ScanCache(tmp_path / "cache.sqlite") as cache:
        cache.store(made, "scanner")
        assert cache.fetch("id", "scanner") == made
        assert cache.fetch("id", "other") is None
        assert cache.fetch("other", "scanner") is None


def test_several_threads_share_one_cache(tmp_path):
    with ScanCache(tmp_path / "cache.sqlite") as cache:

        def work(number: int) -> bool:
            made = Fingerprint(str(number % 50), phash=number % 50)
            cache.store(made, "s")
            return cache.fetch(made.image_id, "s") == made

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(400)))


def test_several_processes_share_one_cache(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from ensemble_minerals.data.hashing import Fingerprint, ScanCache\n"
        "with ScanCache(Path(sys.argv[1])) as cache:\n"
        "    for number in range(60):\n"
        "        cache.store(Fingerprint(f'{sys.argv[2]}-{number}', phash=number), 's')\n"
    )
    path = tmp_path / "cache.sqlite"
    commands = [[sys.executable, "-c", script, str(path), str(number)] for number in range(3)]
    running = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for command in commands]
    assert [process.wait() for process in running] == [0, 0, 0]
    with ScanCache(path) as cache:
        for worker in range(3):
            assert all(cache.fetch(f"{worker}-{number}", "s") is not None for number in range(60))
