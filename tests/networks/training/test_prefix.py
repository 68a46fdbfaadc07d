import multiprocessing
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.errors import FitError
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.transforms import TrainTransform
from ensemble_minerals.networks.training.batches import Sample, TrainingDataset
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.networks.training.prefix import ActivationCache, PrefixInputs, n_last_blocks

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (16, 20)
ENTRY = 4 * 8 * 10 * 2  # bytes of one inner layer


def first_blocks(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()
    ).requires_grad_(False)


def n_cached(inputs):
    """Number of entries that are cached by now."""
    return int(inputs.cache._filled.sum())


class DrawnInputs:
    """Inputs that record what was requested: images that differ by row and view."""

    def __init__(self):
        self.requests = []

    def training_input(self, sample):
        self.requests.append((sample.row, sample.epoch, sample.number))
        return self.draw_photo(sample.row, sample.number + 1)

    def validation_input(self, row):
        self.requests.append((row, "validation"))
        return self.draw_photo(row, 0)

    @staticmethod
    def draw_photo(row, view):
        return torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1000 * row + view))


def prefixed(
    inputs=None, prefix=None, *, rows=(3, 5, 7), validation=(2, 9), n_views=4, limit_mb=1, **options
):
    return PrefixInputs(
        inputs or DrawnInputs(),
        prefix or first_blocks(),
        SIZE,
        rows=rows,
        validation_rows=validation,
        n_views=n_views,
        seed=0,
        limit_mb=limit_mb,
        **options,
    )


def samples(row, n, epoch=1):
    return [Sample(row, (0,), epoch, number) for number in range(n)]


def test_entries_are_what_the_prefix_makes_of_the_views_in_16_bits():
    prefix, inputs = first_blocks(), prefixed()
    expected = {
        (row, view): prefix.eval()(DrawnInputs.draw_photo(row, view)[None])[0].half().float()
        for row in (2, 3, 5, 7, 9)
        for view in range(5)
    }
    assert torch.equal(inputs.validation_input(9), expected[9, 0])
    seen = set()
    for row in (3, 5, 7):
        for sample in samples(row, 40) * 2:
            (view,) = [
                view
                for view in range(1, 5)
                if torch.equal(inputs.training_input(sample), expected[row, view])
            ]
            seen.add((row, view))
    assert len(seen) == 12
    assert n_cached(inputs) == 13


def test_every_view_is_computed_once_and_only_when_it_is_drawn():
    drawn = DrawnInputs()
    inputs = prefixed(drawn)
    assert drawn.requests == []
    for epoch in range(1, 30):
        for row in (3, 5):
            inputs.training_input(Sample(row, (0,), epoch, row))
        inputs.validation_input(2)
    assert sorted(map(str, drawn.requests)) == sorted(
        [str((row, 0, view)) for row in (3, 5) for view in range(4)] + ["(2, 'validation')"]
    )


def test_the_view_comes_from_epoch_row_and_number_alone():
    sample = Sample(5, (0,), 3, 2)
    first = prefixed().training_input(sample)
    other = prefixed()
    state = torch.get_rng_state()
    for each in samples(3, 5) + samples(5, 5):
        other.training_input(each)
    assert torch.equal(other.training_input(sample), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("n_rows", "n_views", "per_row"), [(3, 4, 4), (300, 9, 5), (800, 4, 2), (1600, 4, 1), (2000, 2, 1)]
)
def test_the_limit_holds_and_fewer_views_are_reported(tmp_path, n_rows, n_views, per_row):
    # One megabyte holds 1635 entries of 640 bytes and a mark.
    drawn = DrawnInputs()
    inputs = prefixed(drawn, rows=range(n_rows), n_views=n_views, folder=tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert size <= 1 << 20
    assert inputs.n_views == per_row
    assert bool(inputs.note) == (per_row < n_views)
    if n_rows == 2000:
        assert inputs.note.startswith("0 of 2 kept views of each photo fit into 1 MB (memory)")
        # What is not kept is computed again, to the same numbers.
        last, first = Sample(1999, (0,), 1, 0), Sample(0, (0,), 1, 0)
        assert torch.equal(inputs.training_input(last), inputs.training_input(last))
        assert torch.equal(inputs.training_input(first), inputs.training_input(first))
        assert [row for row, *_ in drawn.requests] == [1999, 1999, 0]


def test_a_nearly_full_disk_is_not_filled(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10 * (ENTRY + 1) + 7))
    inputs = prefixed(folder=tmp_path)
    assert inputs.cache.capacity == 5
    assert inputs.n_views == 1
    assert "half of the free disk" in inputs.note


def test_the_limit_changes_no_numbers():
    kept, computed = prefixed(), prefixed(limit_mb=0, n_views=1)
    assert computed.cache.capacity == 0
    assert torch.equal(kept.validation_input(2), computed.validation_input(2))
    one = prefixed(n_views=1)
    for sample in samples(7, 5):
        assert torch.equal(one.training_input(sample), computed.training_input(sample))


def test_the_network_around_keeps_its_mode_and_its_statistics():
    prefix = first_blocks()
    prefix.train()
    prefix[1].eval()
    before = prefix[1].running_mean.clone()
    prefixed(prefix=prefix).validation_input(2)
    assert [part.training for part in prefix] == [True, False, True]
    assert torch.equal(prefix[1].running_mean, before)


def test_entries_can_be_trained_on():
    inputs = prefixed()
    entry = inputs.training_input(Sample(3, (0,), 1, 0))
    layer = nn.Conv2d(4, 1, 3)
    layer(entry[None]).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_values_beyond_16_bits_are_an_error():
    prefix = first_blocks()
    prefix[1].weight.fill_(1e6)
    with pytest.raises(FitError, match="prefix_views to 0"):
        prefixed(prefix=prefix).validation_input(2)


def test_the_file_is_removed_with_the_cache_but_not_with_a_copy(tmp_path):
    cache = ActivationCache(first_blocks(), SIZE, 3, limit_mb=1, folder=tmp_path)
    image = DrawnInputs.draw_photo(0, 0)
    expected = cache.get(1, lambda: image)

    def never():
        raise AssertionError("it is kept")

    copy = pickle.loads(pickle.dumps(cache))
    assert torch.equal(copy.get(1, never), expected)
    copy.get(2, lambda: image)
    assert torch.equal(cache.get(2, never), expected)
    del copy
    assert list(tmp_path.iterdir())
    del cache
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="NOT RUN: needs fork")
def test_what_workers_compute_is_kept_for_all(tmp_path):
    inputs = prefixed(folder=tmp_path)
    batches = [samples(3, 8), samples(5, 8), samples(7, 8)]
    loader = DataLoader(
        TrainingDataset(inputs), batch_sampler=batches, num_workers=2, multiprocessing_context="fork"
    )
    first = torch.cat([entries for entries, _ in loader])
    kept = n_cached(inputs)
    assert kept > 6
    inputs.inputs = None  # nothing is computed any more
    again = torch.stack([inputs.training_input(sample) for batch in batches for sample in batch])
    assert torch.equal(first, again)
    assert n_cached(inputs) == kept
    assert np.isfinite(first.numpy()).all()


def fitted(tmp_path, **changes):
    """A tiny network trained on drawn photos with frozen early blocks, on one core."""
    folder = tmp_path / "photos"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(24):
        cells = np.clip(rng.normal((60 + 100 * (number % 2), 90, 120), 50, (4, 4, 3)), 0, 255)
        Image.fromarray(cells.astype(np.uint8)).resize((40, 36)).save(folder / f"{number}.png")
    paths = [folder / f"{number}.png" for number in range(24)]
    config = NetworkConfig(
        **{
            "name": "tiny",
            "model": "test_efficientnet",
            "weights": "random",
            "size": 32,
            "phases": ({"train": "last:2", "epochs": 3, "lr": 1e-2, "optimizer": "sgd", "keep": "last"},),
            "batch_size": 6,
            "precision": "float32",
            **changes,
        }
    )
    network = FineTunedNetwork(config, ImageCache(paths, side=36, folder=None, limit_mb=1), random_state=1)
    return network.fit(np.arange(24), np.arange(24) % 2)


def weights(network):
    return {name: np.asarray(values, np.float64) for name, values in network.state_.tensors.items()}


def test_cached_activations_train_the_same_weights_as_photos(tmp_path):
    plain, cached = (fitted(tmp_path, prefix_views=n) for n in (0, 3))
    other = fitted(
        tmp_path, phases=({"train": "last:2", "epochs": 3, "lr": 3e-3, "optimizer": "sgd", "keep": "last"},)
    )
    assert weights(plain).keys() == weights(cached).keys()
    for name, values in weights(plain).items():
        np.testing.assert_allclose(weights(cached)[name], values, atol=2e-3, err_msg=name)
    moved = max(np.abs(weights(other)[name] - values).max() for name, values in weights(plain).items())
    assert moved > 1e-2
    rows = np.arange(24)
    np.testing.assert_allclose(cached.predict_proba(rows), plain.predict_proba(rows), atol=5e-3)


def test_photos_are_drawn_only_as_often_as_views_are_cached(tmp_path, monkeypatch):
    drawn = []
    original = TrainTransform.__call__

    def spy(self, image, *, epoch, row, draw=0):
        drawn.append((row, draw))
        return original(self, image, epoch=epoch, row=row, draw=draw)

    monkeypatch.setattr(TrainTransform, "__call__", spy)
    phase = {"train": "last:1", "epochs": 12, "lr": 1e-3}
    network = fitted(
        tmp_path, prefix_views=2, augment={"horizontal_flip": True, "noise": 0.1}, phases=(phase,)
    )
    n_trained = 24 - len(network.validation_rows_)
    assert len(drawn) == len(set(drawn)) <= 2 * n_trained
    assert not {row for row, _ in drawn} & set(network.validation_rows_.tolist())
    assert len(network.history_) == 12


@pytest.mark.parametrize(
    ("train", "expected"), [("head", 0), ("last:1", 1), ("last:3", 3), ("all", None), (("blocks.3",), None)]
)
def test_where_a_network_can_be_split(train, expected):
    config = NetworkConfig(name="tiny", model="test_efficientnet", weights="random", size=32)
    network, _ = build_network(config, [3])
    if expected is None and train != "all":
        first = min(
            network.depth(f"body.{name}") for name in network.body.state_dict() if name.startswith("blocks.3")
        )
        expected = network.blocks.n - first + 1
    assert n_last_blocks(network, train) == expected
