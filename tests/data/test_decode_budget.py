from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image

from ensemble_minerals.data import decoding
from ensemble_minerals.data.decode_budget import BoundedStream, MemoryGate, check_memory, reduction
from ensemble_minerals.errors import ImageError, ImageReason


def test_a_photo_is_reduced_until_it_fits():
    assert [reduction(n * 10**6) for n in (1, 50, 51, 200, 201)] == [1, 1, 2, 2, 4]


def test_too_much_memory_names_the_limit_and_the_way_out():
    check_memory(10**8, "a photo")
    with pytest.raises(ImageError, match=r"a photo takes 900 MB.*limit of 490 MB; save it smaller") as caught:
        check_memory(9 * 10**8, "a photo")
    assert caught.value.reason is ImageReason.TOO_LARGE


def test_a_header_is_read_so_often_and_no_more():
    stream = BoundedStream(BytesIO(bytes(100)))
    for _ in range(5_000):
        stream.read(1)
    with pytest.raises(ImageError, match="more parts than any photo"):
        stream.read(1)
    stream.header_done()
    stream.seek(0)
    assert len(stream.read()) == stream.size == 100


def test_a_header_is_so_long_and_no_longer():
    stream = BoundedStream(BytesIO(bytes(70_000_000)))
    assert len(stream.read()) == 70_000_000  # all at once is how some decoders read
    stream.seek(0)
    with pytest.raises(ImageError, match="more parts than any photo"):
        stream.read(70_000_000 - 1)


def test_the_gate_lets_in_what_fits():
    gate, most, inside, lock = MemoryGate(100), [0], [0], threading.Lock()

    def work(size: int) -> None:
        with gate.held(size):
            with lock:
                inside[0] += min(size, 100)
                most[0] = max(most[0], inside[0])
            threading.Event().wait(0.002)
            with lock:
                inside[0] -= min(size, 100)

    threads = [threading.Thread(target=work, args=(size,)) for size in (10, 60, 500, 30, 99, 1) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert 0 < most[0] <= 100


def test_the_gate_opens_again_after_an_error():
    gate = MemoryGate(100)
    for _ in range(3):
        with pytest.raises(KeyError), gate.held(100):
            raise KeyError
    with gate.held(100):
        pass


@pytest.mark.parametrize("n_threads", [1, 8])
def test_a_process_decodes_and_reduces_no_more_at_once_than_its_budget(tmp_path, monkeypatch, n_threads):
    """Pixels that a thread still reduces count: eight small files of huge images took 5.3 GB."""
    gate = MemoryGate(1_000_000)
    monkeypatch.setattr(decoding, "_gate", gate)
    inside, most, lock = [0], [0], threading.Lock()
    paths = [tmp_path / f"{number}.png" for number in range(16)]
    for path in paths:
        Image.new("RGB", (400, 300)).save(path)

    def reduce(path):
        with decoding.decoded(path) as photo:
            with lock:
                inside[0] += photo.pixels.nbytes
                most[0] = max(most[0], inside[0])
            threading.Event().wait(0.005)
            with lock:
                inside[0] -= photo.pixels.nbytes
            return photo.pixels[::100, ::100].copy()

    with ThreadPoolExecutor(n_threads) as pool:
        assert all(not small.any() for small in pool.map(reduce, paths))
    assert 360_000 <= most[0] <= 1_000_000
    assert gate._taken == 0


def test_a_photo_above_the_budget_goes_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_gate", MemoryGate(10))
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    with decoding.decoded(tmp_path / "a.png") as photo:
        assert photo.pixels.shape == (30, 40, 3)
        assert decoding._gate._taken == 10
    with pytest.raises(ZeroDivisionError), decoding.decoded(tmp_path / "a.png"):
        raise ZeroDivisionError
    assert decoding._gate._taken == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told by /proc")
def test_threads_keep_nothing_of_large_photos(tmp_path):
    """Each thread kept what it had freed: eight took 1.7 GB where their photos took less than 1 GB at once."""
    program = """
        import resource, sys
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from ensemble_minerals.data import decode_budget, decoding

        decoding._gate = decode_budget.MemoryGate(100_000_000)

        def work(_):
            with decoding.decoded(Path(sys.argv[1])) as photo:
                return photo.pixels.shape

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(work, range(16))) == {(3600, 3600, 3)}
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    Image.new("RGB", (3600, 3600)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200_000  # kB; a photo takes 91 MB
