"""Clusters that run tasks: a Dask or Ray scheduler that answers, and workers with the versions of this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from socket import create_connection
from typing import Any, Literal, Protocol, TypeAlias, get_args
from urllib.parse import urlsplit

import joblib
from joblib import parallel_config

from ensemble_minerals.errors import FitError, UserError
from ensemble_minerals.system import cpu

Backend: TypeAlias = Literal["local", "dask", "ray"]

DelayedCall: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""A function, its arguments and its keyword arguments, as `joblib.delayed` returns them."""

PATIENCE = 10  # seconds to wait for a scheduler, and then for its first worker
_ATTEMPTS = (
    5  # so often in a row, without any result in between, tasks are sent again after workers have died
)
_ALONE = 60  # seconds without any worker after which nobody waits any more


class Workers(Protocol):
    """Runs calls on the workers of a cluster."""

    def run(self, calls: Iterable[DelayedCall], shared: Sequence[Any]) -> Generator[Any]:
        """Run calls, and yield their results in the order in which they finish; see `parallel.run_unordered`."""
        ...


@dataclass(frozen=True)
class Cluster:
    """Where tasks run.

    Attributes:
        backend: Kind of the cluster, or ``local``.
        n_workers: Number of worker processes; 0 for ``local``.
        n_cores: Number of tasks that run at the same time.
        workers: What runs the tasks; None for ``local``.
    """

    backend: Backend
    n_workers: int
    n_cores: int
    workers: Workers | None = None

    @property
    def is_local(self) -> bool:
        """Whether tasks run on this machine."""
        return self.workers is None


@contextmanager
def open_cluster(
    backend: str = "local", scheduler: str | None = None, *, n_jobs: int | None = None
) -> Iterator[Cluster]:
    """Connect to a cluster until the block ends.

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
    else:
        with (_dask if backend == "dask" else _ray)(scheduler) as opened:
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
        _check_versions(client.run(_versions, on_error="return"), scheduler, "dask")
        cores = client.ncores()
        yield Cluster("dask", len(cores), sum(cores.values()), _DaskWorkers(client))


@dataclass(frozen=True)
class _DaskWorkers:
    """The workers of the Dask cluster that `client` is connected to."""

    client: Any

    def run(self, calls: Iterable[DelayedCall], shared: Sequence[Any]) -> Generator[Any]:
        """See `Workers.run`; if all copies of a shared array died, the rest is sent again together with all."""
        left = dict(enumerate(calls))
        attempts = 0
        while left:
            attempts += 1
            try:
                for number, result in self._attempt(left, shared):
                    del left[number]
                    attempts = 0
                    yield result
            except CancelledError as error:
                if attempts == _ATTEMPTS:
                    raise _gives_up(
                        f"workers of the cluster died {attempts} times before any of them had finished a task",
                        "the cluster is well again",
                    ) from error

    def _attempt(self, calls: Mapping[int, DelayedCall], shared: Sequence[Any]) -> Generator[tuple[int, Any]]:
        """Send calls, and yield their numbers and results until all are there or one is lost."""
        from distributed import KilledWorker, as_completed

        in_order: Callable[..., Any] = as_completed

        # Every worker gets the arrays before any call; else all workers would fetch them from the first one.
        # hash=False gives each array a new key. Under its old key, it could be deleted together with an earlier copy
        # that is just being released.
        try:
            sent = self.client.scatter(list(shared), broadcast=True, hash=False) if shared else []
        except TimeoutError as error:
            raise _no_workers() from error
        futures = {
            self.client.submit(
                _run_on_dask, function, named, *_sent(arguments, shared, sent), pure=False
            ): number
            for number, (function, arguments, named) in calls.items()
        }
        try:
            for future in self._finished(in_order(futures, loop=self.client.loop)):
                yield futures[future], future.result()
        except KilledWorker as error:
            raise _keeps_dying(error) from error
        finally:
            self.client.cancel(list(futures))

    def _finished(self, running: Any) -> Generator[Any]:
        """Futures as they finish, while there are workers."""
        asked = seen = time.monotonic()
        while not running.is_empty():
            if batch := running.next_batch(block=False):
                yield from batch
                seen = time.monotonic()
                continue
            time.sleep(0.02)
            if time.monotonic() - asked > 1:
                asked = time.monotonic()
                seen = asked if self.client.ncores() else seen
                if asked - seen > _ALONE:
                    raise _no_workers()


def _run_on_dask(function: Callable[..., Any], named: Mapping[str, Any], *arguments: Any) -> Any:
    from distributed import get_worker

    return _run(int(get_worker().state.nthreads), function, named, *arguments)


def _run(n_cores: int, function: Callable[..., Any], named: Mapping[str, Any], *arguments: Any) -> Any:
    """Run a call in a worker that may use `n_cores` cores, without parallel tasks inside it."""
    cpu.limit_cores(n_cores)
    with parallel_config(backend="sequential"):
        return function(*arguments, **named)


def _sent(arguments: Sequence[Any], shared: Sequence[Any], sent: Sequence[Any]) -> list[Any]:
    """Arguments, with what stands for them on the cluster in place of shared ones."""
    there = {id(one): reference for one, reference in zip(shared, sent, strict=True)}
    return [there.get(id(argument), argument) for argument in arguments]


def _gives_up(why: str, until: str) -> FitError:
    return FitError(f"{why}.\nWhat was finished is kept: go on with --resume when {until}.")


def _no_workers() -> FitError:
    return _gives_up("the cluster has no workers any more", "it has some again")


def _keeps_dying(error: Exception) -> FitError:
    why = f"several workers died one after the other of the same task ({error}), which may be too large for them"
    return _gives_up(why, "they have more memory")


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


def _check_versions(found: Mapping[str, Any], scheduler: str, backend: str) -> None:
    """Make sure that the workers have the versions of this machine: others could give other results, or fail.

    Args:
        found: By worker its `_versions`, or the error that they ended in.
        scheduler: What the user calls the cluster.
        backend: Its kind.
    """
    here = _versions()
    for worker, there in found.items():
        if isinstance(there, BaseException):
            raise UserError(
                f"the worker {worker} of {scheduler} cannot load this package ({there}); install ensemble-minerals "
                f"{here['ensemble-minerals']} with `ensemble-minerals[{backend}]` there, too"
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
    except ImportError as error:
        raise UserError(_not_installed("ray", "ray")) from error
    ours, known_as = not ray.is_initialized(), scheduler or "this machine"
    if ours:
        try:
            ray.init(address=scheduler or "auto", log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {known_as} ({error}); start one by `ray start --head`, and name the "
                "address that it prints"
            ) from error
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if not cores:
            raise UserError(
                f"the Ray cluster at {known_as} has no cores; add nodes by `ray start --address ADDRESS`"
            )
        versions = _versions_on_ray()
        _check_versions(versions, known_as, "ray")
        yield Cluster("ray", len(versions), cores, _RayWorkers())
    finally:
        if ours:
            ray.shutdown()


def _versions_on_ray() -> dict[str, Any]:
    """`_versions` of every node that has cores, or the error that they ended in."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(_versions)
    asked = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU"):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
            asked[name] = task.options(scheduling_strategy=there).remote()
    found: dict[str, Any] = {}
    for name, reference in asked.items():
        try:
            found[name] = ray.get(reference)
        except ray.exceptions.TaskUnschedulableError:
            continue  # the node has died; Ray notices after a while
        except ray.exceptions.RayError as error:
            found[name] = error
    return found


class _RayWorkers:
    """The workers of the Ray cluster that is open: one core each."""

    def run(self, calls: Iterable[DelayedCall], shared: Sequence[Any]) -> Generator[Any]:
        """See `Workers.run`; Ray itself runs the tasks of workers that died again."""
        import ray

        sent = [ray.put(one) for one in shared]
        task = ray.remote(num_cpus=1)(_run)
        left = [
            task.remote(1, function, named, *_sent(arguments, shared, sent))
            for function, arguments, named in calls
        ]
        try:
            while left:
                (ready,), left = ray.wait(left)
                yield ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise _keeps_dying(error) from error
        finally:
            for reference in left:
                ray.cancel(reference)


def _not_installed(backend: str, package: str) -> str:
    return f"--backend {backend} needs the package {package}: pip install 'ensemble-minerals[{backend}]'"
