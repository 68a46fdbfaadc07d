"""Shards of photos, computed in this process: what the parent sends, checks and keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.errors import ImageError, ImageReason, UserError
from ensemble_minerals.features import distributed
from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor
from ensemble_minerals.features.distributed import extract_on_cluster
from ensemble_minerals.features.extraction import CHUNK, extract_features
from ensemble_minerals.features.extractor import fingerprint_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.cluster import Cluster
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.runtime import DecodeLimits


class Mean:
    """A source that gives a photo's mean color."""

    n_views, n_features, side = 1, 3, 32

    def __init__(self, name="mean", machine="here"):
        self.name, self.machine, self.calls = name, machine, []

    @property
    def metadata(self):
        return {"name": self.name, "engine": "torch", "machine": self.machine}

    @property
    def fingerprint(self):
        return fingerprint_of(self.metadata)

    def extract(self, photos):
        self.calls.append(len(photos))
        return np.array([[photo.mean(axis=(0, 1))] for photo in photos], dtype=np.float32)


HERE = Cluster("local", 0, 1)


@pytest.fixture(autouse=True)
def fresh():
    distributed._opened.clear()


@pytest.fixture
def photos(tmp_path):
    paths = []
    for number in range(40):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (16, 12), (number, 255 - number, 7)).save(paths[-1])
    return paths


def ids_of(paths):
    return [content_digest(path.read_bytes()) for path in paths]


def test_the_answer_is_that_of_one_machine(photos, tmp_path):
    photos[3].write_bytes(photos[20].read_bytes())  # a copy
    photos[5].write_bytes(b"no picture")
    paths, ids = [*photos, tmp_path / "gone.png"], [*ids_of(photos), "gone"]
    extractors = [Mean(), ColorTextureExtractor()]
    here = extract_features(paths, ids, extractors)
    told = []
    there = extract_on_cluster(
        paths, ids, extractors, cluster=HERE, progress=lambda *done: told.append(done), check_contents=True
    )
    for name, values in here.features.items():
        np.testing.assert_array_equal(there.features[name], values)
    assert {row: error.reason for row, error in there.errors.items()} == {
        row: error.reason for row, error in here.errors.items()
    }
    assert sorted(there.errors) == [5, 40]
    assert there.n_computed == here.n_computed == {"mean": 38, "descriptor": 38}
    assert told == [(16, 40), (32, 40), (40, 40)]
    assert there.decode_seconds > 0
    assert all(seconds > 0 for seconds in there.seconds.values())


def test_only_what_the_store_lacks_is_sent(photos, tmp_path):
    with FeatureStore(tmp_path / "features.sqlite") as store:
        extract_features(photos[:30], ids_of(photos)[:30], [Mean()], store=store)
        mean, other = Mean(), Mean("other")
        found = extract_on_cluster(photos, ids_of(photos), [mean, other], cluster=HERE, store=store)
        assert found.n_computed == {"mean": 10, "other": 40}
        assert (sum(mean.calls), sum(other.calls)) == (10, 40)
        again = extract_on_cluster(photos, ids_of(photos), [Mean(), Mean("other")], cluster=HERE, store=store)
    assert again.n_computed == {"mean": 0, "other": 0}
    for name, values in found.features.items():
        np.testing.assert_array_equal(again.features[name], values)


@pytest.mark.parametrize(
    ("n_tasks", "n_jobs", "sizes"), [(40, 2, {CHUNK, 8}), (4096, 2, {distributed.LARGEST}), (4096, 32, {32})]
)
def test_shards_are_neither_too_small_nor_too_large(n_tasks, n_jobs, sizes):
    extractor = Mean()
    tasks = [distributed.ExtractionTask(None, str(n), [n], [extractor]) for n in range(n_tasks)]
    cut = list(distributed._cut(tasks, n_jobs))
    assert {len(shard) for shard in cut} == sizes
    assert [task for shard in cut for task in shard] == tasks


def test_a_photo_that_a_worker_does_not_see(photos, monkeypatch):
    def blind(paths, ids, extractors, **settings):
        found = extract_features(paths, ids, extractors, **settings)
        return replace(found, errors={0: ImageError(ImageReason.MISSING, "no such file")})

    monkeypatch.setattr(distributed, "extract_features", blind)
    with pytest.raises(UserError, match=r"a worker does not see .*0.png, which is there; photos must lie on"):
        extract_on_cluster(photos, ids_of(photos), [Mean()], cluster=HERE)


def test_a_worker_that_would_compute_other_numbers(photos, monkeypatch):
    wanted = Mean().fingerprint
    told = "a worker would compute other numbers for mean .*--set engine=torch"
    with pytest.raises(UserError, match=told):
        distributed.compute_shard(
            0, photos, ids_of(photos), [(Mean(machine="there"), wanted)],
            limits=DecodeLimits(max_pixels=10**6), check_contents=True,
        )  # fmt: skip


def test_a_worker_keeps_its_networks(photos):
    first, second, other = Mean(), Mean(), Mean("other")
    settings = {"limits": DecodeLimits(max_pixels=10**6), "check_contents": False}
    for extractor in (first, second):
        distributed.compute_shard(0, photos, ids_of(photos), [(extractor, extractor.fingerprint)], **settings)
    assert (sum(first.calls), sum(second.calls)) == (80, 0)
    distributed.compute_shard(0, photos, ids_of(photos), [(other, other.fingerprint)], **settings)
    assert [name for name, _ in distributed._opened] == ["other"]
