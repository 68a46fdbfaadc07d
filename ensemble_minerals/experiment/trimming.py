"""What of a configuration is left out so that a fit keeps to a time limit.

What goes first is what takes longest for the accuracy it brings, see `ORDER`. One flat member stays, and nothing
goes whose absence would save no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.schema import Config
from ensemble_minerals.experiment.cost_model import Costs, estimate
from ensemble_minerals.system.durations import format_estimate

ORDER = (
    "trained networks (the longest first), members with an MLP head, extra views of the backbones, the learning "
    "curve, backbones from the last to the second, members but for a flat one"
)
"""What a time limit leaves out, in this order; for help and messages."""


_NETWORK, _MLP, _PLAIN = ", a trained network", ", which has an MLP head", ""
"""Kinds of members, as they are told."""


@dataclass(frozen=True)
class Trimmed:
    """What of a configuration will be fitted.

    Attributes:
        config: The configuration, trimmed; the very object that was given where nothing was left out.
        learning_curve: Whether the learning curve is computed.
        estimated: Seconds that it takes.
        left_out: One sentence for each thing, in the order of `ORDER`.
        fits: Whether it keeps to the limit.
    """

    config: Config
    learning_curve: bool
    estimated: float
    left_out: tuple[str, ...] = ()
    fits: bool = True


def trim(config: Config, costs: Costs, limit: float) -> Trimmed:
    """Leave out, in the order of `ORDER`, what does not fit into a time limit.

    Where even the smallest selection takes too long, it is the answer, and `Trimmed.fits` says so.

    Args:
        config: What the user wants.
        costs: What it takes.
        limit: Seconds.
    """
    kept = config.model_copy(update={"members": config.expanded_members()})
    stays = _member_that_stays(kept, costs)
    now, curve, left_out = estimate(kept, costs).total, True, list[str]()
    for kind, name in _in_order(kept, costs):
        if now <= limit:
            break
        less, with_curve = _without(kept, kind, name), curve and kind != "curve"
        seconds = estimate(less, costs, learning_curve=with_curve).total
        if seconds < now and stays in _names(less):
            left_out.append(f"time limit: left out {_in_words(kind, name, kept, less, costs)}")
            kept, now, curve = less, seconds, with_curve
    if not left_out:
        return Trimmed(config, True, now, fits=now <= limit)
    return Trimmed(_complete(kept), curve, now, tuple(left_out), now <= limit)


def _in_order(config: Config, costs: Costs) -> Iterator[tuple[str, str]]:
    """Kind and name of all that can be left out, see `ORDER`."""
    slow_first = sorted(config.members, key=lambda member: -costs.members.get(str(member.name), 0.0))
    kinds = {str(member.name): _kind(member) for member in slow_first}
    backbones = [one.name for one in reversed(config.backbones)]
    for kind in (_NETWORK, _MLP):
        yield from ((kind, name) for name, own in kinds.items() if own == kind)
    yield from (("views", name) for name in backbones)
    yield "curve", ""
    yield from (("backbone", name) for name in backbones[:-1])
    yield from ((_PLAIN, name) for name, own in kinds.items() if own == _PLAIN)


def _kind(member: MemberConfig) -> str:
    if member.network is not None:
        return _NETWORK
    return _MLP if member.head.kind == "mlp" else _PLAIN


def _names(config: Config) -> list[str]:
    return [str(member.name) for member in config.members]


def _member_that_stays(config: Config, costs: Costs) -> str:
    """If there is one, a flat member on the first backbone or on color and texture."""
    backbones = [backbone.name for backbone in config.backbones]

    def worth(member: MemberConfig) -> tuple[float, ...]:
        features = set(member.features or ())
        return (
            bool(features),
            member.strategy == "flat",
            member.head.kind != "mlp",
            bool(features) and features <= {*backbones[:1], DESCRIPTOR},
            bool(features & set(backbones)),
            -costs.members.get(str(member.name), 0.0),
        )

    return str(max(config.members, key=worth).name)


def _without(config: Config, kind: str, name: str) -> Config:
    """What is left; members that used nothing but a backbone that is gone are not."""
    members, backbones = list(config.members), list(config.backbones)
    if kind == "views":
        backbones = [
            one.model_copy(update={"views": one.views[:1]}) if one.name == name else one for one in backbones
        ]
    elif kind == "backbone":
        backbones = [one for one in backbones if one.name != name]
        members = [
            member.model_copy(update={"features": tuple(one for one in member.features or () if one != name)})
            for member in members
            if member.features != (name,)
        ]
    else:
        members = [member for member in members if member.name != name]
    return config.model_copy(update={"members": tuple(members), "backbones": tuple(backbones)})


def _in_words(kind: str, name: str, kept: Config, less: Config, costs: Costs) -> str:
    """What is left out with a step."""
    if kind == "curve":
        return "the learning curve"
    if kind == "views":
        views = next(one.views for one in kept.backbones if one.name == name)
        return f"views of {name}: {', '.join(views[1:])}"
    if kind == "backbone":
        using = [one for one in _names(kept) if one not in _names(less)]
        return f"the backbone {name}" + (
            f" and the members that use nothing else: {', '.join(using)}" if using else ""
        )
    return f"{name}{kind} (about {format_estimate(costs.members.get(name, 0.0))})"


def _complete(trimmed: Config) -> Config:
    """A selection as a complete configuration: a fit with it is this fit."""
    trained = {member.network for member in trimmed.members}
    networks = tuple(network for network in trimmed.networks if network.name in trained)
    members = tuple(
        member.model_copy(update={"features": member.features or None}) for member in trimmed.members
    )
    return Config.model_validate(
        trimmed.model_copy(update={"networks": networks, "members": members}).model_dump()
    )
