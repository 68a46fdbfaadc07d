"""Where tasks run: the cores of this machine, or a Dask or Ray cluster through joblib's own backends.

Whoever calls `joblib.Parallel` inside `cluster` sends its tasks there. `unordered` does so with what a cluster
asks for besides: large arrays go to every worker once, nothing inside a task spreads out again, and the tasks
of workers that died run again elsewhere.
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
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ensemble_minerals.errors import FitError, UserError

Backend: TypeAlias = Literal["local", "dask", "ray"]

Task: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""What `joblib.delayed` makes of a call."""

PATIENCE = 10
"""Seconds to wait for a scheduler, and then for its first worker."""

_ATTEMPTS = 5
"""How often in a row, without a single result between, tasks are sent anew after workers have died."""


@dataclass(frozen=True)
class Cluster:
    """Where tasks run.

    Attributes:
        backend: What runs them.
        n_workers: Processes there; 0 where it is this one.
        n_cores: Tasks at once.
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
    """Let joblib's tasks run on a cluster while this is open.

    Args:
        backend: ``local``, ``dask`` or ``ray``.
        scheduler: Address of the scheduler, such as ``tcp://host:8786``; Ray finds that of its own machine.
        n_jobs: Tasks at once on this machine; all of its cores if None.

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
def _sending_to(client: Any, arrays: Sequence[NDArray[Any]] = ()) -> Iterator[None]:
    """Send joblib's tasks to a Dask cluster, whose workers get the arrays beforehand."""
    with parallel_config(backend="dask", client=client):
        backend, _ = joblib.parallel.get_active_backend()
        if arrays:
            # Under keys of their own: an array that was sent before, and is being given up, would go with it.
            futures = client.scatter(list(arrays), broadcast=True, hash=False)
            backend.data_futures = {id(array): future for array, future in zip(arrays, futures, strict=True)}
        count = backend.effective_n_jobs
        # To a single core joblib would send nothing; there may be one because the others are just being restarted.
        backend.effective_n_jobs = lambda n_jobs: max(2, count(n_jobs))
        yield


def _check_answers(scheduler: str, no_answer: str, way_out: str) -> None:
    """Find out before a client does: one that could not connect complains once more when it is forgotten."""
    try:
        address = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
        place = address.hostname, address.port
    except ValueError as error:
        raise UserError(
            f"--scheduler {scheduler}: {error}; give HOST:PORT, such as tcp://host:8786"
        ) from error
    host, port = place
    if host is None or port is None:
        raise UserError(f"--scheduler {scheduler}: give HOST:PORT, such as tcp://host:8786")
    if address.scheme in ("tcp", "tls"):
        try:
            create_connection((host, port), timeout=PATIENCE).close()
        except OSError as error:
            raise UserError(f"{no_answer} ({error}); {way_out}") from error


def _check_versions(client: Any, scheduler: str) -> None:
    """Workers of other versions would give other answers, or none."""
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
    """Versions of what decides the answers."""
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
def at_home() -> Iterator[None]:
    """Keep on this machine what is too small to be sent to a cluster."""
    with parallel_config(backend="threading"):
        yield


def is_remote() -> bool:
    """Whether tasks go to a cluster."""
    backend, _ = joblib.parallel.get_active_backend()
    return type(backend).__module__ != "joblib._parallel_backends"


def own_cores() -> int | None:
    """Cores that the cluster gave the worker this runs in; None outside of workers."""
    distributed, ray = sys.modules.get("distributed"), sys.modules.get("ray")
    if distributed is not None:
        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:  # not in a worker
            pass
    if ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        return 1
    return None


def unordered(
    tasks: Sequence[Task], *, n_jobs: int, shared: Sequence[NDArray[Any]] = (), threads: bool = False
) -> Generator[Any, None, None]:
    """Run tasks and give their results as they come.

    Args:
        tasks: Calls, see `joblib.delayed`.
        n_jobs: Tasks at once; a Dask cluster takes all it has cores for.
        shared: Arrays among their arguments. A cluster's workers get each once; where one died with the only copy
            that was left (Dask keeps no more than it needs), the tasks that remain are sent again with them. Only
            arguments themselves are found, not what lies inside of lists.
        threads: On this machine in threads, not in processes.

    Raises:
        FitError: If workers kept dying.
    """
    left = dict(enumerate(tasks))
    attempts = 0
    while attempts < _ATTEMPTS:
        attempts += 1
        with _at_hand(shared):
            run = Parallel(
                n_jobs=n_jobs, prefer="threads" if threads else None, return_as="generator_unordered"
            )
        calls = (
            delayed(_numbered)(number, call, *args, **named)
            for number, (call, args, named) in [*left.items()]
        )
        try:
            for number, result in run(calls):
                del left[number]
                attempts = 0
                yield result
            return
        except _losses():
            continue
        except _killers() as error:
            raise FitError(
                f"several workers died one after the other of the same task ({error}); is their memory too small?\n"
                "What was finished is kept: go on with --resume when they have more."
            ) from error
    raise FitError(
        f"workers of the cluster died {_ATTEMPTS} times before any of them had finished a task.\n"
        "What was finished is kept: go on with --resume when the cluster is well again."
    )


def _numbered(number: int, call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int, Any]:
    """Run a task; what it would run in parallel itself runs in turn, or a cluster would get tasks of tasks."""
    with parallel_config(backend="sequential"):
        return number, call(*arguments, **named)


@contextmanager
def _at_hand(arrays: Sequence[NDArray[Any]]) -> Iterator[None]:
    """Give every worker of an active Dask cluster the arrays, so that not all ask the first one for them."""
    backend, _ = joblib.parallel.get_active_backend()
    client = getattr(backend, "client", None)
    if client is None or not arrays:
        yield
        return
    with _sending_to(client, arrays):
        yield


def _losses() -> tuple[type[BaseException], ...]:
    """What is raised where arrays, or tasks, were lost with the workers that had them."""
    ray = sys.modules.get("ray")
    return (CancelledError,) if ray is None else (CancelledError, ray.exceptions.RayActorError)


def _killers() -> tuple[type[BaseException], ...]:
    """What is raised where the scheduler gave up on a task."""
    distributed = sys.modules.get("distributed")
    return () if distributed is None else (distributed.KilledWorker,)


class _SingleThread:
    """Keeps BLAS and OpenMP to one thread in this process while at least one task asks for it."""

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
"""Threads beyond the cores wait on each other, and sums keep one order whatever the number of tasks at once.

Entered by every task itself: what a parent limits does not go along to a worker. Tasks that share a process enter
it together, so that none gives the others their threads back.
"""
