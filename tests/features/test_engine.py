from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ensemble_minerals.features import engine as engines
from ensemble_minerals.features.engine import Engine, OpenVINOEngine, TorchEngine, convert
from ensemble_minerals.features.engine_agreement import probes
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

SIZE = 64


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> TappedNetwork:
    return TappedNetwork(load_network("test_efficientnet", "random", size=SIZE), covariances=24)


@pytest.fixture(scope="module")
def model(network: TappedNetwork) -> Any:
    notes: list[str] = []
    converted = convert(network, notes)
    assert notes == []
    return converted


@pytest.fixture(scope="module", params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest, network: TappedNetwork, model: Any) -> Engine:
    if request.param == "torch":
        return TorchEngine(network, "float32")
    return OpenVINOEngine(model, "float32", network.n_features)


def test_vectors_are_the_networks(engine: Engine, network: TappedNetwork) -> None:
    images = probes(SIZE)
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.stack(images))).numpy()
    np.testing.assert_allclose(engine.run(images, len(images)), expected, rtol=1e-3, atol=1e-4)


def test_a_picture_does_not_see_its_neighbors(engine: Engine) -> None:
    images = probes(SIZE)
    together = engine.run(images, len(images))
    alone = np.concatenate([engine.run([image], 1) for image in images])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(engine.run(images[::-1], len(images)), together[::-1])


def test_no_pictures_give_no_vectors(engine: Engine, network: TappedNetwork) -> None:
    assert engine.run([], 0).shape == (0, network.n_features)


def test_threads_may_share_an_engine(engine: Engine) -> None:
    images = probes(SIZE)
    expected = [engine.run([image] * 3, 3) for image in images]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda image: engine.run([image] * 3, 3), images))
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_a_failing_picture_leaves_the_engine_usable(engine: Engine) -> None:
    images = probes(SIZE)
    before = engine.run(images, len(images))

    def torn() -> Iterator[NDArray[np.uint8]]:
        yield from images[:3]
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        engine.run(torn(), 4)
    np.testing.assert_array_equal(engine.run(images, len(images)), before)


def test_a_saved_network_runs_the_same(tmp_path: Path, network: TappedNetwork, model: Any) -> None:
    engines.save(model, tmp_path / "network.xml")
    read = OpenVINOEngine(tmp_path / "network.xml", "float32", network.n_features)
    kept = OpenVINOEngine(model, "float32", network.n_features)
    np.testing.assert_allclose(read.run(probes(SIZE), 8), kept.run(probes(SIZE), 8), rtol=1e-4, atol=1e-5)


def test_nothing_is_reported_over_the_internet(tmp_path: Path) -> None:
    script = "from ensemble_minerals.features import engine; engine._core"
    environment = {**os.environ, "HOME": str(tmp_path)}
    for variable in ("CI", "TF_BUILD", "JENKINS_URL"):
        environment.pop(variable, None)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_the_converter_is_imported_where_something_is_converted() -> None:
    script = (
        "import sys\n"
        "from ensemble_minerals.features.engine import computes_bfloat16\n"
        "computes_bfloat16()\n"
        "import openvino\n"
        "assert not hasattr(openvino, 'nothing') and 'openvino.tools.ovc' not in sys.modules\n"
        "from openvino import convert_model\n"
        "print(convert_model.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("openvino.tools.ovc")
