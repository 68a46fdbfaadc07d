"""Clusters that run tasks: a Dask or Ray scheduler that answers, and workers with the versions of this machine.

While `open_cluster` is open, `joblib.Parallel` sends its tasks to the cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from socket import create_connection
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import joblib
from joblib import parallel_config

from ensemble_minerals.errors import UserError

Backend: TypeAlias = Literal["local", "dask", "ray"]

PATIENCE = 10
"""Seconds to wait for a scheduler, and then for its first worker."""


@dataclass(frozen=True)
class Cluster:
    """Where tasks run.

    Attributes:
        backend: Kind of the cluster, or ``local``.
        n_workers: Number of worker processes; 0 for ``local``.
        n_cores: Number of tasks that run at the same time.
    """

    backend: Backend
    n_workers: int
    n_cores: int

    @property
    def is_local(self) -> bool:
        """Whether tasks run on this machine."""
        return self.backend == "local"


@contextmanager
def open_cluster(
    backend: str = "local", scheduler: str | None = None, *, n_jobs: int | None = None
) -> Iterator[Cluster]:
    """Send joblib's tasks to a cluster until the block ends.

    Args:
        backend: ``local``, ``dask`` or ``ray``.
        scheduler: Address of the scheduler, such as ``tcp://host:8786``. Ray finds a scheduler on this machine.
        n_jobs: Number of tasks that run at the same time for ``local``; one for each core if None.

    Raises:
        UserError: If there is no such backend, its package is not installed, the scheduler does not answer, it has
            no workers, or their versions differ from those here.
    """
    if backend not in get_args(Backend):
        raise UserError(f"there is no backend {backend!r}; choose from {', '.join(get_args(Backend))}")
    if backend == "local":
        if scheduler is not None:
            raise UserError(
                f"a scheduler ({scheduler}) is of use to a cluster only; name what it is of: --backend dask, or ray"
            )
        yield Cluster("local", 0, joblib.cpu_count() if n_jobs is None else n_jobs)
    elif backend == "dask":
        with _dask(scheduler) as opened:
            yield opened
    else:
        with _ray(scheduler) as opened:
            yield opened


@contextmanager
def _dask(scheduler: str | None) -> Iterator[Cluster]:
    if not scheduler:
        raise UserError(
            "--backend dask needs --scheduler ADDRESS, such as tcp://host:8786; start one by `dask scheduler`, and "
            "by `dask worker ADDRESS` on every machine"
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(_not_installed("dask", "distributed")) from error
    no_answer = f"no Dask scheduler answers at {scheduler}"
    way_out = "start one by `dask scheduler`, and name the address that it prints"
    _check_answers(scheduler, no_answer, way_out)
    connect: Callable[..., Any] = Client
    try:
        client = connect(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{no_answer} ({error}); {way_out}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no workers; start some by `dask worker {scheduler}`"
            ) from error
        _check_versions(client, scheduler)
        cores = client.ncores()
        with sending_to(client):
            yield Cluster("dask", len(cores), sum(cores.values()))


@contextmanager
def sending_to(client: Any, arrays: Sequence[Any] = ()) -> Iterator[None]:
    """Send joblib's tasks to a Dask cluster until the block ends, and arrays to all its workers first.

    Args:
        client: Connected to the cluster.
        arrays: What tasks share; it is sent to each worker once.
    """
    with parallel_config(backend="dask", client=client):
        backend, _ = joblib.parallel.get_active_backend()
        if arrays:
            # hash=False gives each array a new key. Under its old key, it could be deleted together with an earlier
            # copy that is just being released.
            futures = client.scatter(list(arrays), broadcast=True, hash=False)
            backend.data_futures = {id(array): future for array, future in zip(arrays, futures, strict=True)}
        count = backend.effective_n_jobs
        # joblib sends nothing to a cluster with one core; it may have one because other workers are restarting.
        backend.effective_n_jobs = lambda n_jobs: max(2, count(n_jobs))
        yield


def _check_answers(scheduler: str, no_answer: str, way_out: str) -> None:
    """Try to connect before a client does: a client that could not connect logs an error again when it is deleted."""
    try:
        address = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
        host, port = address.hostname, address.port
    except ValueError as error:
        raise UserError(
            f"--scheduler {scheduler}: {error}; give HOST:PORT, such as tcp://host:8786"
        ) from error
    if host is None or port is None:
        raise UserError(f"--scheduler {scheduler}: give HOST:PORT, such as tcp://host:8786")
    if address.scheme in ("tcp", "tls"):
        try:
            create_connection((host, port), timeout=PATIENCE).close()
        except OSError as error:
            raise UserError(f"{no_answer} ({error}); {way_out}") from error


def _check_versions(client: Any, scheduler: str) -> None:
    """Make sure that the workers have the versions of this machine: others could give other results, or fail."""
    here = _versions()
    for worker, there in client.run(_versions, on_error="return").items():
        if isinstance(there, BaseException):
            raise UserError(
                f"the worker {worker} of {scheduler} cannot load this package ({there}); install ensemble-minerals "
                f"{here['ensemble-minerals']} with `ensemble-minerals[dask]` there, too"
            )
        different = [
            f"{name} {there.get(name)}, here {here[name]}" for name in here if here[name] != there[name]
        ]
        if different:
            raise UserError(
                f"the worker {worker} of {scheduler} has other versions: {'; '.join(different)}; install the same "
                "there, so that answers do not depend on who computes them"
            )


def _versions() -> dict[str, str]:
    """Versions of the packages that decide the results."""
    packages = ("ensemble-minerals", "numpy", "scipy", "scikit-learn", "torch")
    return {"python": ".".join(map(str, sys.version_info[:2])), **{name: version(name) for name in packages}}


@contextmanager
def _ray(scheduler: str | None) -> Iterator[Cluster]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise UserError(_not_installed("ray", "ray")) from error
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=scheduler or "auto", log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {scheduler or 'this machine'} ({error}); start one by `ray start "
                "--head`, and name the address that it prints"
            ) from error
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < 2:
            raise UserError(
                f"the Ray cluster has {cores} cores, to which joblib sends nothing; add nodes by `ray start "
                "--address ADDRESS`, or leave --backend out"
            )
        register_ray()
        with parallel_config(backend="ray"):
            yield Cluster("ray", cores, cores)
    finally:
        if ours:
            ray.shutdown()


def _not_installed(backend: str, package: str) -> str:
    return f"--backend {backend} needs the package {package}: pip install 'ensemble-minerals[{backend}]'"


def worker_cores() -> int | None:
    """Number of cores that a cluster gave this worker; None where this process is no worker."""
    distributed, ray = sys.modules.get("distributed"), sys.modules.get("ray")
    if distributed is not None:
        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:  # not in a worker
            pass
    if ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        return 1
    return None
