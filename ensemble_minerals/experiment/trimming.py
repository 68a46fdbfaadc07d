"""What of a configuration is left out so that a fit keeps to a time limit.

What goes first is what takes longest for the accuracy it brings, see `ORDER`. One flat member stays, and nothing
goes whose absence would save no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.schema import Config
from ensemble_minerals.experiment.cost_model import Costs, Estimate, estimate_parts
from ensemble_minerals.system.durations import format_estimate

ORDER = (
    "trained networks (the longest first), members with an MLP head, extra views of the backbones, the learning "
    "curve, backbones from the last to the second, members but for a flat one"
)
"""What a time limit leaves out, in this order; for help and messages."""


@dataclass(frozen=True)
class Trimmed:
    """What of a configuration will be fitted.

    Attributes:
        config: The configuration, trimmed; the very object that was given where nothing was left out.
        learning_curve: Whether the learning curve is computed.
        estimate: How long it takes.
        left_out: One sentence for each thing, in the order they were left out.
        fits: Whether it keeps to the limit.
    """

    config: Config
    learning_curve: bool
    estimate: Estimate
    left_out: tuple[str, ...] = ()
    fits: bool = True


@dataclass(frozen=True)
class _Selection:
    """What is still in."""

    members: tuple[MemberConfig, ...]
    backbones: tuple[BackboneConfig, ...]
    learning_curve: bool = True
    left_out: tuple[str, ...] = ()


_Step: TypeAlias = Callable[[_Selection], _Selection | None]
"""Makes a selection smaller; None where there is nothing to leave out."""

_LEFT_OUT = "time limit: left out "


def trim(config: Config, costs: Costs, limit: float) -> Trimmed:
    """Leave out, in the order of `ORDER`, what does not fit into a time limit.

    Where even the smallest selection takes too long, it is the answer, and `Trimmed.fits` says so.

    Args:
        config: What the user wants.
        costs: What it takes.
        limit: Seconds.
    """

    def estimated(selection: _Selection) -> Estimate:
        return estimate_parts(
            selection.members, selection.backbones, config, costs, learning_curve=selection.learning_curve
        )

    selection = _Selection(config.expanded_members(), config.backbones)
    estimate = estimated(selection)
    for step in _steps(selection, _member_that_stays(selection, config, costs), config, costs):
        if estimate.total <= limit:
            break
        smaller = step(selection)
        if smaller is not None and (less := estimated(smaller)).total < estimate.total:
            selection, estimate = smaller, less
    fits = estimate.total <= limit
    if not selection.left_out:
        return Trimmed(config, True, estimate, fits=fits)
    trimmed = _config_of(selection, config)
    return Trimmed(trimmed, selection.learning_curve, estimate, selection.left_out, fits)


def _member_that_stays(selection: _Selection, config: Config, costs: Costs) -> str:
    """If there is one, a flat member on the first backbone or on color and texture."""
    first = {config.backbones[0].name, DESCRIPTOR} if config.backbones else {DESCRIPTOR}

    def worth(member: MemberConfig) -> tuple[float, ...]:
        features = set(member.features or ())
        return (
            bool(features),
            member.strategy == "flat",
            member.head.kind != "mlp",
            bool(features) and features <= first,
            bool(features & {backbone.name for backbone in config.backbones}),
            -costs.members.get(str(member.name), 0.0),
        )

    return str(max(selection.members, key=worth).name)


def _steps(selection: _Selection, stays: str, config: Config, costs: Costs) -> Iterator[_Step]:
    """What makes a selection smaller, in order."""
    longest_first = sorted(selection.members, key=lambda member: -costs.members.get(str(member.name), 0.0))
    others = [member for member in longest_first if member.name != stays]
    networks = [member for member in others if member.network is not None]
    mlps = [member for member in others if member.network is None and member.head.kind == "mlp"]
    plain = [member for member in others if member.network is None and member.head.kind != "mlp"]
    yield from (_without_member(member, "a trained network", costs) for member in networks)
    yield from (_without_member(member, "which has an MLP head", costs) for member in mlps)
    most = max((len(backbone.views) for backbone in selection.backbones), default=1)
    for n_views in range(most - 1, 0, -1):
        yield from (
            _with_views(index, n_views, config) for index in reversed(range(len(selection.backbones)))
        )
    yield _without_learning_curve
    yield from (_without_backbone(backbone.name, stays) for backbone in reversed(selection.backbones[1:]))
    yield from (_without_member(member, "", costs) for member in plain)


def _without_member(member: MemberConfig, description: str, costs: Costs) -> _Step:
    def step(selection: _Selection) -> _Selection | None:
        members = tuple(other for other in selection.members if other.name != member.name)
        if len(members) == len(selection.members):
            return None
        seconds = format_estimate(costs.members.get(str(member.name), 0.0))
        named = f"{member.name}, {description}" if description else f"{member.name}"
        return _left_out(replace(selection, members=members), f"{named} (about {seconds})")

    return step


def _with_views(index: int, n_views: int, config: Config) -> _Step:
    def step(selection: _Selection) -> _Selection | None:
        backbone = selection.backbones[index]
        if len(backbone.views) <= n_views:
            return None
        fewer = backbone.model_copy(update={"views": backbone.views[:n_views]})
        sentence = f"views of {backbone.name}: "
        dropped = ", ".join(config.backbones[index].views[n_views:])
        # One sentence a backbone: what was said of more views is replaced.
        before = tuple(text for text in selection.left_out if not text.startswith(_LEFT_OUT + sentence))
        backbones = (*selection.backbones[:index], fewer, *selection.backbones[index + 1 :])
        return _left_out(replace(selection, backbones=backbones, left_out=before), sentence + dropped)

    return step


def _without_learning_curve(selection: _Selection) -> _Selection:
    return _left_out(replace(selection, learning_curve=False), "the learning curve")


def _without_backbone(name: str, stays: str) -> _Step:
    """Leave out a backbone and the members that use nothing else, unless the member that stays is one of them."""

    def step(selection: _Selection) -> _Selection | None:
        members, dropped = [], []
        for member in selection.members:
            features = tuple(extractor for extractor in member.features or () if extractor != name)
            if member.features and not features:
                dropped.append(str(member.name))
            else:
                members.append(
                    member.model_copy(update={"features": features}) if member.features else member
                )
        if stays in dropped:
            return None
        what = f"the backbone {name}" + (
            f" and the members that use nothing else: {', '.join(dropped)}" if dropped else ""
        )
        backbones = tuple(backbone for backbone in selection.backbones if backbone.name != name)
        return _left_out(replace(selection, members=tuple(members), backbones=backbones), what)

    return step


def _left_out(selection: _Selection, what: str) -> _Selection:
    """The selection with a sentence on what was left out."""
    return replace(selection, left_out=(*selection.left_out, _LEFT_OUT + what))


def _config_of(selection: _Selection, config: Config) -> Config:
    """The selection as a complete configuration: a fit with it is this fit."""
    trained = {member.network for member in selection.members if member.network}
    members = [
        member.model_copy(update={"features": None}) if member.network else member
        for member in selection.members
    ]
    changed = config.model_copy(
        update={
            "members": tuple(members),
            "backbones": selection.backbones,
            "networks": tuple(network for network in config.networks if network.name in trained),
        }
    )
    return Config.model_validate(changed.model_dump())
