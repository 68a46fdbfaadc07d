"""What of a configuration is left out so that a fit keeps to a time limit.

What goes first is what takes longest for the accuracy it brings, see `ORDER`. One flat member stays, and nothing
goes whose absence would save no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

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


class _Item(NamedTuple):
    """What can be left out; of ``views`` the first `stay` of a backbone stay."""

    kind: Literal["member", "backbone", "views", "curve"]
    name: str = ""
    stay: int = 0


_CURVE = _Item("curve")
_PLAIN = 2
_KINDS = (", a trained network", ", which has an MLP head", "")
"""What is said of a member by its rank."""


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
    gone: list[_Item] = []
    whole = kept = config.model_copy(update={"members": config.expanded_members()})
    now = estimate(whole, costs).total
    stays = _member_that_stays(whole, costs)
    for item in _in_order(whole, costs):
        if now <= limit:
            break
        less = _without(whole, [*gone, item])
        seconds = estimate(less, costs, learning_curve=_CURVE not in (*gone, item)).total
        if seconds < now and stays in _names(less):
            gone, kept, now = [*gone, item], less, seconds
    if not gone:
        return Trimmed(config, True, now, fits=now <= limit)
    return Trimmed(_complete(kept), _CURVE not in gone, now, _told(whole, gone, costs), now <= limit)


def _in_order(config: Config, costs: Costs) -> Iterator[_Item]:
    """All that can be left out, see `ORDER`."""
    members = sorted(config.members, key=lambda member: -costs.members.get(str(member.name), 0.0))
    members.sort(key=_rank)
    yield from (_Item("member", str(member.name)) for member in members if _rank(member) < _PLAIN)
    most = max((len(backbone.views) for backbone in config.backbones), default=1)
    for n_views in range(most - 1, 0, -1):
        yield from (
            _Item("views", one.name, n_views)
            for one in reversed(config.backbones)
            if len(one.views) > n_views
        )
    yield _CURVE
    yield from (_Item("backbone", backbone.name) for backbone in reversed(config.backbones[1:]))
    yield from (_Item("member", str(member.name)) for member in members if _rank(member) == _PLAIN)


def _rank(member: MemberConfig) -> int:
    if member.network is not None:
        return 0
    return 1 if member.head.kind == "mlp" else _PLAIN


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


def _without(config: Config, gone: Sequence[_Item]) -> Config:
    """What is left; members that used nothing but backbones that are gone are not."""
    backbones = []
    for one in config.backbones:
        if _Item("backbone", one.name) not in gone:
            stay = min((item.stay for item in gone if item[:2] == ("views", one.name)), default=None)
            backbones.append(one.model_copy(update={"views": one.views[:stay]}))
    members = []
    for member in config.members:
        features = tuple(name for name in member.features or () if _Item("backbone", name) not in gone)
        if _Item("member", str(member.name)) not in gone and (features or not member.features):
            members.append(member.model_copy(update={"features": features or None}))
    return config.model_copy(update={"members": tuple(members), "backbones": tuple(backbones)})


def _told(config: Config, gone: Sequence[_Item], costs: Costs) -> tuple[str, ...]:
    """A sentence for each thing that is gone, and one for all views of a backbone."""
    kinds = {str(member.name): _KINDS[_rank(member)] for member in config.members}
    views = {backbone.name: backbone.views for backbone in config.backbones}
    told: dict[tuple[str, str], str] = {}
    for number, (kind, name, stay) in enumerate(gone):
        if kind == "member":
            what = f"{name}{kinds[name]} (about {format_estimate(costs.members.get(name, 0.0))})"
        elif kind == "views":
            what = f"views of {name}: {', '.join(views[name][stay:])}"
            told.pop((kind, name), None)  # one sentence for all
        elif kind == "backbone":
            left = _names(_without(config, gone[: number + 1]))
            using = [one for one in _names(_without(config, gone[:number])) if one not in left]
            what = f"the backbone {name}"
            what += f" and the members that use nothing else: {', '.join(using)}" if using else ""
        else:
            what = "the learning curve"
        told[kind, name] = f"time limit: left out {what}"
    return tuple(told.values())


def _complete(trimmed: Config) -> Config:
    """A selection as a complete configuration: a fit with it is this fit."""
    trained = {member.network for member in trimmed.members}
    networks = tuple(network for network in trimmed.networks if network.name in trained)
    return Config.model_validate(trimmed.model_copy(update={"networks": networks}).model_dump())
