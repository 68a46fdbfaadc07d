"""A search with Optuna: around the best configuration so far, one part of it after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import ConfigError, FitError
from ensemble_minerals.tuning.space import SearchSpace

_TWO_PARTS = 0.3
"""Share of the trials that change two parts at once."""


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried.

    Attributes:
        number: Counted from 0, the first configuration.
        loss: Its out-of-fold log-loss.
        seconds: Time it took.
        config: The configuration.
        changed: What was free to change; the rest was as in the best one until then.
    """

    number: int
    loss: float
    seconds: float
    config: Config
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """What a search tried.

    Attributes:
        trials: Those that could be scored, in order.
    """

    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial with the lowest log-loss, the earlier one of equals."""
        return min(self.trials, key=lambda trial: trial.loss)


def search(
    space: SearchSpace,
    score: Callable[[Config], float],
    *,
    until: float,
    most: int | None = None,
    seed: int = 0,
    report: Callable[[int], None] = lambda trials: None,
) -> Search:
    """Try configurations.

    The first configuration comes first, then the views of one backbone after the other as training rows. From then on
    each trial leaves most of the best one as it is and lets Optuna's TPE sampler choose a part of it anew.

    Args:
        space: What may be tried.
        score: Gives a configuration's log-loss.
        until: Time (`time.time`) from which on no trial starts but the first.
        most: Trials, at most; no limit if None.
        seed: Of the draws.
        report: Called with the number of trials.

    Raises:
        FitError: If the first configuration cannot be fitted.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    random, first = np.random.default_rng(seed), space.first()
    waiting = [name for name, value in first.items() if name.endswith(":pooling") and value != "rows"]
    known: dict[str, float] = {}
    trials: list[Trial] = []
    best: dict[str, Any] = first
    number = 0
    while not trials or ((most is None or number < most) and time.time() < until):
        started = time.perf_counter()
        fixed: dict[str, Any] = best
        changed: tuple[str, ...] = ()
        if trials and waiting:
            name = waiting.pop(0)
            fixed, changed = {**best, name: "rows"}, (_part(name),)
        elif trials:
            fixed, changed = _around(best, space.parts, random)
        study.enqueue_trial(fixed)
        asked = study.ask()
        try:
            config = space.draw(asked)
            key = config.model_dump_json()
            loss = known[key] if key in known else score(config)
        except (ConfigError, FitError):
            if not trials:
                raise
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(asked, loss)
            if not trials or loss < min(trial.loss for trial in trials):
                best = dict(asked.params)
            if key not in known:
                trials.append(Trial(number, loss, time.perf_counter() - started, config, changed))
            known[key] = loss
        number += 1
        report(number)
    return Search(tuple(trials))


def _around(
    best: dict[str, Any], parts: tuple[str, ...], random: np.random.Generator
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The choices to keep, and the parts that are free."""
    free = tuple(
        random.permutation(np.array(parts, dtype=object))[: 2 if random.random() < _TWO_PARTS else 1]
    )
    return {name: value for name, value in best.items() if _part(name) not in free}, free


def _part(parameter: str) -> str:
    """The part that a parameter belongs to."""
    return parameter.rpartition(":")[0]
