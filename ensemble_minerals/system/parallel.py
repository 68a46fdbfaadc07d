"""Parallel tasks: on the cores of this machine, or on a Dask or Ray cluster through joblib's backends.

While `cluster` is open, `joblib.Parallel` sends its tasks to the cluster. `run_unordered` does more: it sends large
arrays to every worker once, keeps tasks from starting parallel tasks of their own, and runs the tasks of workers
that died again on others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from socket import create_connection
from threading import Lock
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import joblib
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from ensemble_minerals.errors import FitError, UserError

Backend: TypeAlias = Literal["local", "dask", "ray"]

DelayedCall: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""A function, its arguments and its keyword arguments, as `joblib.delayed` returns them."""

PATIENCE = 10
"""Seconds to wait for a scheduler, and then for its first worker."""

_ATTEMPTS = 5
"""So many times in a row, without any result in between, tasks are sent again after workers have died."""


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
def cluster(
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
        with _sending_to(client):
            yield Cluster("dask", len(cores), sum(cores.values()))


@contextmanager
def _sending_to(client: Any, arrays: Sequence[Any] = ()) -> Iterator[None]:
    """Send joblib's tasks to a Dask cluster, and the arrays to all its workers first."""
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
    """Try to connect before a client does: a client that could not connect logs an error once more when deleted."""
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


@contextmanager
def on_this_machine() -> Iterator[None]:
    """Run joblib's tasks in threads of this machine until the block ends: for tasks too small for a cluster."""
    with parallel_config(backend="threading"):
        yield


def is_remote() -> bool:
    """Whether joblib's tasks go to a cluster."""
    backend, _ = joblib.parallel.get_active_backend()
    return type(backend).__module__ != "joblib._parallel_backends"


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


def run_unordered(
    calls: Sequence[DelayedCall], *, n_jobs: int, shared: Sequence[Any] = (), threads: bool = False
) -> Generator[Any, None, None]:
    """Run calls in parallel, and yield their results in the order in which they finish.

    Args:
        calls: The calls, made by `joblib.delayed`.
        n_jobs: Number of calls that run at the same time; a Dask cluster uses all its cores.
        shared: Arrays, and objects made of arrays, among the arguments. Every worker of a cluster gets each once. If
            a worker dies with the last copy of one, the remaining calls are sent again together with all. They are
            recognized as arguments, but not inside a list that is an argument.
        threads: Whether to use threads on this machine instead of processes.

    Yields:
        The result of each call.

    Raises:
        FitError: If workers keep dying.

    Example:
        >>> sorted(run_unordered([delayed(pow)(n, 2) for n in range(4)], n_jobs=2, threads=True))
        [0, 1, 4, 9]
    """
    left = dict(enumerate(calls))
    attempts = 0
    while attempts < _ATTEMPTS:
        attempts += 1
        with _scattered(shared):
            run = Parallel(
                n_jobs=n_jobs, prefer="threads" if threads else None, return_as="generator_unordered"
            )
        numbered = (
            delayed(_numbered)(number, function, *arguments, **named)
            for number, (function, arguments, named) in [*left.items()]
        )
        try:
            for number, result in run(numbered):
                del left[number]
                attempts = 0
                yield result
            return
        except _lost_worker_errors():
            continue
        except _killed_worker_errors() as error:
            raise FitError(
                f"several workers died one after the other of the same task ({error}); is their memory too small?\n"
                "What was finished is kept: go on with --resume when they have more."
            ) from error
    raise FitError(
        f"workers of the cluster died {_ATTEMPTS} times before any of them had finished a task.\n"
        "What was finished is kept: go on with --resume when the cluster is well again."
    )


def _numbered(number: int, function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int, Any]:
    """Run a call without parallel tasks inside it, which would go to the cluster again."""
    with parallel_config(backend="sequential"):
        return number, function(*arguments, **named)


@contextmanager
def _scattered(arrays: Sequence[Any]) -> Iterator[None]:
    """Send arrays to every worker of an active Dask cluster; else all workers would fetch them from the first one."""
    backend, _ = joblib.parallel.get_active_backend()
    client = getattr(backend, "client", None)
    if client is None or not arrays:
        yield
        return
    with _sending_to(client, arrays):
        yield


def _lost_worker_errors() -> tuple[type[BaseException], ...]:
    """Errors that say that arrays or tasks were lost together with a worker."""
    ray = sys.modules.get("ray")
    return (CancelledError,) if ray is None else (CancelledError, ray.exceptions.RayActorError)


def _killed_worker_errors() -> tuple[type[BaseException], ...]:
    """Errors that say that the scheduler gave up a task, because it killed several workers."""
    distributed = sys.modules.get("distributed")
    return () if distributed is None else (distributed.KilledWorker,)


class _SingleThread:
    """Keeps BLAS and OpenMP to one thread in this process while at least one task has entered it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limits = threadpool_limits(1)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._limits is not None:
                self._limits.restore_original_limits()


single_thread = _SingleThread()
"""Keeps BLAS and OpenMP to one thread. Every parallel task enters it.

There are then no more threads than cores, and sums are computed in one order, however many tasks run. A worker does
not inherit the limit of its parent process, so each task has to set it. Tasks in one process share the limit: it ends
with the last of them.
"""
