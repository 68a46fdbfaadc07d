"""Tasks on a cluster: the same answers from real Dask and Ray clusters, also while their workers are killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from cluster_tasks import cores, die, die_once, double, fail, limited, nested, slow_double
from drawn.runtimes import runtime
from joblib import delayed

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.errors import FitError, UserError
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system import cluster
from ensemble_minerals.system.cluster import open_cluster
from ensemble_minerals.system.parallel import run_unordered
from ensemble_minerals.workflows.ablate import ablate

CLASSES = np.array(["bornite", "malachite", "pyrite"])


def run(calls, **settings):
    with closing(run_unordered(calls, **{"n_jobs": 2, **settings})) as found:
        return sorted(found)


def test_locally_nothing_is_remote_and_tasks_are_as_many_as_asked_for():
    with open_cluster(n_jobs=3) as here:
        assert (here.backend, here.n_workers, here.n_cores, here.is_local) == ("local", 0, 3, True)
    with open_cluster() as here:
        assert here.n_cores == joblib.cpu_count()


# -- what cannot be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "scheduler", "told"),
    [
        ("slurm", None, "no backend 'slurm'; choose from local, dask, ray"),
        ("local", "tcp://host:8786", "a scheduler .* is of use to a cluster only"),
        ("dask", None, "needs --scheduler ADDRESS, such as tcp://host:8786"),
        ("dask", "somewhere", "--scheduler somewhere: give HOST:PORT"),
        ("dask", "host:many", "--scheduler host:many: .* give HOST:PORT"),
        ("dask", "foo://host:1", "no Dask scheduler answers at foo://host:1 .*unknown address scheme"),
    ],
)
def test_what_makes_no_sense_is_refused(backend, scheduler, told):
    with pytest.raises(UserError, match=told), open_cluster(backend, scheduler):
        pass


def test_a_scheduler_that_does_not_answer():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Dask scheduler answers at {address} .*start one by"):
            open_cluster("dask", address).__enter__()


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_package_that_is_not_installed(monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    told = f"needs the package {package}: pip install 'ensemble-minerals\\[{backend}\\]'"
    with pytest.raises(UserError, match=told), open_cluster(backend, "tcp://host:8786"):
        pass


# -- Dask ---------------------------------------------------------------------------------------------------


def two_workers():
    distributed = pytest.importorskip("distributed")
    return distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")


@pytest.fixture(scope="module")
def dask():
    """Address of a scheduler with two workers."""
    with two_workers() as made:
        yield made.scheduler_address


@pytest.fixture
def mortal():
    """Address of another one, whose workers may be killed."""
    with two_workers() as made:
        yield made.scheduler_address


def process_ids(address):
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)  # others may be on their way
        return list(client.run(os.getpid).values())


def kill(process_id):
    os.kill(process_id, signal.SIGKILL)


def test_tasks_run_in_the_workers(dask):
    array = np.arange(2000.0)
    with open_cluster("dask", dask) as there:
        assert (there.backend, there.n_workers, there.n_cores, there.is_local) == ("dask", 2, 2, False)
        calls = [delayed(double)(n, array) for n in range(8)]
        assert run(calls, shared=[array], cluster=there) == [3 * n for n in range(8)]
        assert run([delayed(cores)(n) for n in range(3)], cluster=there) == [1, 1, 1]
        found = run([delayed(nested)(n) for n in range(4)], cluster=there)
        assert {task for task, _ in found} <= set(process_ids(dask))
        assert all(inner == [task] * 3 for task, inner in found)
        assert all(set(pools) <= {1} for pools in run([delayed(limited)(0)], cluster=there))


def test_large_arrays_are_sent_to_every_worker(dask):
    from distributed import Client

    array = np.random.default_rng(0).random(5000)
    calls = [delayed(slow_double)(n, array) for n in range(6)]
    with (
        open_cluster("dask", dask) as there,
        Client(dask, set_as_default=False) as client,
        closing(run_unordered(calls, n_jobs=2, shared=[array], cluster=there)) as found,
    ):
        next(found)
        holders = [workers for key, workers in client.who_has().items() if "ndarray" in str(key)]
        assert [len(workers) for workers in holders] == [2]
        assert len(list(found)) == 5


@pytest.mark.parametrize("victims", [1, 2])
def test_tasks_of_workers_that_were_killed_run_again(mortal, victims):
    array = np.arange(2000.0)
    calls = [delayed(slow_double)(n, array) for n in range(12)]
    ids = process_ids(mortal)
    with (
        open_cluster("dask", mortal) as there,
        closing(run_unordered(calls, n_jobs=2, shared=[array], cluster=there)) as found,
    ):
        results = [next(found), next(found)]
        for process_id in ids[:victims]:
            kill(process_id)
        results += found
    assert sorted(results) == [3 * n for n in range(12)]


class Losing:
    """A Dask client on whose cluster all submitted tasks but the first are lost; or all."""

    def __init__(self, client, kept=1):
        self.client, self.kept, self.left = client, kept, 0
        self.cancel, self.loop, self.ncores = client.cancel, client.loop, client.ncores

    def scatter(self, arrays, **options):
        self.left = self.kept
        return arrays

    def submit(self, *call, **options):
        future = self.client.submit(*call, **options)
        if self.left:
            future.result()
        else:
            self.client.cancel([future])
        self.left = max(self.left - 1, 0)
        return future


def run_losing(there, calls, **settings):
    losing = replace(there.workers, client=Losing(there.workers.client, **settings))
    return run(calls, shared=[np.zeros(3)], cluster=replace(there, workers=losing))


def test_losses_between_results_may_be_many(dask):
    with open_cluster("dask", dask) as there:
        assert run_losing(there, [delayed(double)(n) for n in range(8)]) == [2 * n for n in range(8)]


def test_workers_that_keep_dying_end_it(dask):
    told = r"workers of the cluster died 5 times before(.|\n)*--resume"
    with open_cluster("dask", dask) as there, pytest.raises(FitError, match=told):
        run_losing(there, [delayed(double)(1)], kept=0)


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_ALONE", 0)
    settings = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**settings) as fading,
        open_cluster("dask", fading.scheduler_address) as there,
        closing(run_unordered([delayed(time.sleep)(60)], n_jobs=1, cluster=there)) as found,
    ):
        threading.Timer(1, fading.scale, [0]).start()
        with pytest.raises(FitError, match=r"no workers any more(.|\n)*--resume"):
            next(found)


def test_a_task_that_kills_its_workers_ends_it(mortal):
    told = r"died one after the other of the same task"
    with open_cluster("dask", mortal) as there, pytest.raises(FitError, match=told):
        run([delayed(die)()], cluster=there)


def test_errors_of_tasks_come_as_they_are(dask):
    with open_cluster("dask", dask) as there, pytest.raises(UserError, match="no such thing"):
        run([delayed(fail)("no such thing")], cluster=there)


def test_workers_of_another_version_are_refused(dask, monkeypatch):
    monkeypatch.setattr(cluster, "version", lambda name: "0.0.1" if name == "numpy" else _version(name))
    told = f"has other versions: numpy {np.__version__}, here 0.0.1; install the same there"
    with pytest.raises(UserError, match=told), open_cluster("dask", dask):
        pass


_version = cluster.version


def test_a_scheduler_without_workers(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as empty:
        address = empty.scheduler_address
        with pytest.raises(UserError, match=f"{address} has no workers; start some by `dask worker"):
            open_cluster("dask", address).__enter__()


def test_a_single_core_is_sent_to():
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**settings) as small,
        open_cluster("dask", small.scheduler_address) as there,
    ):
        assert there.n_cores == 1
        assert os.getpid() not in run([delayed(os.getpid)()], n_jobs=1, cluster=there)


# -- cross-fitting and whole fits ---------------------------------------------------------------------------


def specimens(n=90):
    rng = np.random.default_rng(0)
    y = (np.arange(n) // 6 % 3).astype(np.intp)
    X = (rng.normal(size=(3, 40))[y] + rng.normal(size=(n, 40))).astype(np.float32)
    groups = np.arange(n) // 2
    return {"color": X[:, :10].copy(), "lite0": X[:, 10:].copy()}, y, groups, groups % 3


MEMBERS = [
    FeatureMember("flat", ("color",), FlatClassifier()),
    FeatureMember("tree", ("lite0",), HierarchicalClassifier({"metallic": ["bornite", "pyrite"]})),
    FeatureMember("both", ("lite0", "color"), FlatClassifier()),
]


def fitted(on_step=None, there=None, **settings):
    blocks, *known = specimens()
    how = runtime(on_step, n_jobs=2, cluster=there)
    return cross_fit(MEMBERS, RowData(blocks), FoldInputs(*known, CLASSES), how, **settings)


def test_members_are_the_same_to_the_last_bit(dask):
    local = fitted()
    with open_cluster("dask", dask) as cluster:
        there = fitted(there=cluster)
    np.testing.assert_array_equal(there.out_of_fold.member_proba, local.out_of_fold.member_proba)
    X = specimens()[0]["color"]
    for one, other in zip(there.fitted["flat"], local.fitted["flat"], strict=True):
        np.testing.assert_array_equal(one.fitted.predictor.log_proba(X), other.fitted.predictor.log_proba(X))


def test_a_worker_killed_half_way_through_the_members_loses_nothing(mortal, tmp_path):
    local, alive = fitted(), process_ids(mortal)

    def progress(done, total):
        if done and alive:
            kill(alive.pop())
            alive.clear()

    with open_cluster("dask", mortal) as cluster:
        there = fitted(progress, cluster, checkpoint=tmp_path)
    assert not alive
    np.testing.assert_array_equal(there.out_of_fold.member_proba, local.out_of_fold.member_proba)
    assert len(list(tmp_path.iterdir())) == 9


class Killer:
    """Calls a function when a stage has begun to yield, once a stage."""

    def __init__(self, kill, *stages: str) -> None:
        self.kill, self.stages, self.killed = kill, list(stages), []

    def stage(self, name):
        def proceed(done, total):
            if name in self.stages and 0 < done < total:
                self.stages.remove(name)
                self.killed.append(name)
                self.kill()

        return proceed

    def note(self, text):
        pass


STAGES = ["Computing features", "Fitting members"]


def untimed(bundle: Path) -> dict[str, bytes]:
    timed = {"metrics.json", "bundle.json"}
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file() and path.name not in timed
    }


def test_a_fit_on_a_cluster_gives_the_same_bundle_while_workers_are_killed(mortal, tiny, tmp_path):
    killer = Killer(lambda: kill(process_ids(mortal)[0]), *STAGES)
    tiny.fit(
        tiny.photos,
        tmp_path / "bundle",
        backend="dask",
        scheduler=mortal,
        cache_dir=tmp_path / "cache",
        progress=killer,
    )
    assert killer.killed == STAGES
    assert untimed(tmp_path / "bundle") == untimed(tiny.bundle)
    refitted = tmp_path / "refitted"
    tiny.fit(tiny.photos, refitted, tiny.config(refit=True), backend="dask", scheduler=mortal)
    tiny.fit(tiny.photos, tmp_path / "here", tiny.config(refit=True))
    assert untimed(refitted) == untimed(tmp_path / "here")


def test_an_ablation_on_a_cluster_is_the_same(dask, tiny, tmp_path):
    settings = {"arms": ["best_single"], "n_splits": 2, "n_jobs": 1, "cache_dir": tiny.cache}
    here = ablate(tiny.photos, tmp_path / "here", tiny.config(), **settings)
    there = ablate(tiny.photos, tmp_path / "there", tiny.config(), **settings, backend="dask", scheduler=dask)
    for one, other in zip(here.ablation["arms"], there.ablation["arms"], strict=True):
        assert one["scores"] == other["scores"]


# -- Ray ----------------------------------------------------------------------------------------------------


def test_ray_that_does_not_answer():
    pytest.importorskip("ray", reason="NOT RUN: Ray is not installed")
    with pytest.raises(UserError, match=r"no Ray cluster answers at this machine .*`ray start --head`"):
        open_cluster("ray").__enter__()


@pytest.fixture(scope="module")
def ray_nodes():
    """A Ray cluster of two nodes with one core each, on this machine."""
    ray = pytest.importorskip("ray", reason="NOT RUN: Ray is not installed")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Its workers import the tasks of these tests.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def test_tasks_run_on_the_nodes_of_ray(ray_nodes, tmp_path):
    array = np.arange(2000.0)
    with open_cluster("ray", ray_nodes.address) as there:
        assert (there.backend, there.n_workers, there.n_cores, there.is_local) == ("ray", 2, 2, False)
        calls = [delayed(slow_double)(n, array) for n in range(8)]
        assert run(calls, shared=[array], cluster=there) == [3 * n for n in range(8)]
        assert run([delayed(cores)(n) for n in range(3)], cluster=there) == [1, 1, 1]
        assert all(inner == [task] * 3 for task, inner in run([delayed(nested)(0)], cluster=there))
        assert run([delayed(die_once)(n, tmp_path / str(n)) for n in range(3)], cluster=there) == [0, 1, 2]
        with pytest.raises(UserError, match="no such thing"):
            run([delayed(fail)("no such thing")], cluster=there)
        with pytest.raises(FitError, match="died one after the other of the same task"):
            run([delayed(die)()], cluster=there)


def test_a_fit_on_ray_gives_the_same_bundle_while_a_node_dies(ray_nodes, tiny, tmp_path):
    def replace_node():
        *_, last = ray_nodes.list_all_nodes()
        ray_nodes.remove_node(last, allow_graceful=False)
        ray_nodes.add_node(num_cpus=1)

    killer = Killer(replace_node, "Fitting members")
    settings = {"backend": "ray", "scheduler": ray_nodes.address, "cache_dir": tmp_path / "cache"}
    tiny.fit(tiny.photos, tmp_path / "bundle", progress=killer, **settings)
    assert killer.killed == ["Fitting members"]
    assert untimed(tmp_path / "bundle") == untimed(tiny.bundle)


def test_nodes_of_ray_with_other_versions_are_refused(ray_nodes, monkeypatch):
    monkeypatch.setattr(cluster, "version", lambda name: "0.0.1" if name == "numpy" else _version(name))
    told = f"has other versions: numpy {np.__version__}, here 0.0.1; install the same there"
    with pytest.raises(UserError, match=told), open_cluster("ray", ray_nodes.address):
        pass
