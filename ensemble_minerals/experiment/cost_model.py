"""How long a fit will take, and what is left out of it so that it fits into a time limit.

Pure: estimates in, a plan out. What goes first is what takes longest for the accuracy it brings: trained networks,
the longest first; members with an MLP head, the longest first; the extra views of the backbones, one view of each
in turn, the last first; the learning curve; backbones, from the last to the second; and members, the longest
first. One flat member stays, and nothing goes whose absence would save no time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import UserError

ORDER = (
    "trained networks (the longest first), members with an MLP head, extra views of the backbones, the learning "
    "curve, backbones from the last to the second, members but for a flat one"
)
"""What a time limit leaves out, in this order; for help and messages."""

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class ExtractorTime:
    """What a feature extractor takes.

    Attributes:
        per_view: Seconds for one view of a photo.
        missing: Photos whose features, with the views as configured, are not stored yet.
    """

    per_view: float
    missing: int


@dataclass(frozen=True)
class Costs:
    """What the parts of a fit take, measured or modelled, for the whole configuration.

    Attributes:
        n_photos: All of them.
        extractors: By name of the backbone, or ``descriptor``.
        members: Seconds of each member in all folds.
        learning_curve: Seconds.
        rest: Seconds of what cannot be left out, such as what has been spent already.
    """

    n_photos: int
    extractors: Mapping[str, ExtractorTime]
    members: Mapping[str, float]
    learning_curve: float = 0.0
    rest: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """How long a plan takes, in seconds.

    Attributes:
        features: All sources.
        members: Those on features.
        networks: Members on trained networks.
        learning_curve: Where it is drawn.
        rest: See `Costs`.
    """

    features: float
    members: float
    networks: float
    learning_curve: float
    rest: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.features + self.members + self.networks + self.learning_curve + self.rest


@dataclass(frozen=True)
class Plan:
    """What will be fitted.

    Attributes:
        config: The configuration, trimmed; the very object that was given where nothing was left out.
        learning_curve: Whether it is drawn.
        estimate: How long it takes.
        left_out: One sentence for each thing, in the order they went.
        fits: Whether it keeps to the limit.
    """

    config: Config
    learning_curve: bool
    estimate: Estimate
    left_out: tuple[str, ...] = ()
    fits: bool = True


@dataclass(frozen=True)
class _State:
    members: tuple[MemberConfig, ...]
    backbones: tuple[BackboneConfig, ...]
    curve: bool = True
    left_out: tuple[str, ...] = ()


_Step: TypeAlias = Callable[[_State], _State | None]
"""Makes a plan smaller; None where there is nothing to do."""

_LEFT_OUT = "time limit: left out "


def parse_seconds(text: str) -> float:
    """Read a time: ``90``, ``90s``, ``10m``, ``1h30m``, ``1.5h``.

    Raises:
        UserError: If it is none, or nothing.
    """
    plain = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        seconds = float(plain)
    elif re.fullmatch(r"(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?", plain):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)([hms])", plain))
    else:
        seconds = 0.0
    if seconds <= 0:
        raise UserError(f"--time-limit {text}: give seconds, or a time such as 10m or 1h30m")
    return seconds


def spell(seconds: float) -> str:
    """A time in words, as exact as an estimate is: ``12 s``, ``3 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate(config: Config, costs: Costs, *, learning_curve: bool = True) -> Estimate:
    """How long a configuration takes.

    Args:
        config: Whole, or trimmed.
        costs: Of the whole.
        learning_curve: Whether it is drawn.
    """
    return _estimate(_State(config.expanded_members(), config.backbones, learning_curve), config, costs)


def describe(config: Config, costs: Costs, found: Estimate) -> str:
    """An estimate in words: ``about 3 min: features 140 s (3 backbones x 4 views x 755 photos), members 20 s``."""
    missing = {name: extractor.missing for name, extractor in costs.extractors.items() if extractor.missing}
    looked_at = [backbone for backbone in config.backbones if backbone.name in missing]
    views = {len(backbone.views) for backbone in looked_at}
    photos = _counted(max(missing.values(), default=0), "photo")
    if looked_at:
        each = _counted(views.pop(), "view") if len(views) == 1 else "several views"
        what = f" ({_counted(len(looked_at), 'backbone')} x {each} x {photos})"
    else:
        what = f" ({photos})" if missing else " (stored)"
    parts = [f"features {spell(found.features)}{what}", f"members {spell(found.members)}"]
    if found.networks:
        parts.append(f"trained networks {spell(found.networks)} at most")
    return f"about {spell(found.total)}: {', '.join(parts)}"


def trim(config: Config, costs: Costs, limit: float) -> Plan:
    """Leave out, in the stated order, what does not fit into a time limit.

    Where even the smallest plan is too long it is the answer, and `Plan.fits` says so.

    Args:
        config: What the user asked for.
        costs: What it takes.
        limit: Seconds.
    """
    state = _State(config.expanded_members(), config.backbones)
    kept = _kept(state, config, costs)
    found = _estimate(state, config, costs)
    for step in _steps(state, kept, config, costs):
        if found.total <= limit:
            break
        smaller = step(state)
        less = found if smaller is None else _estimate(smaller, config, costs)
        if smaller is not None and less.total < found.total:
            state, found = smaller, less
    if not state.left_out:
        return Plan(config, True, found, fits=found.total <= limit)
    return Plan(_configured(config, state), state.curve, found, state.left_out, found.total <= limit)


def _estimate(state: _State, config: Config, costs: Costs) -> Estimate:
    views = {backbone.name: len(backbone.views) for backbone in config.backbones}
    used = {extractor for member in state.members for extractor in member.features or ()}
    if state.backbones and config.duplicates.near:
        used.add(state.backbones[0].name)
    features = 0.0
    for backbone in state.backbones:
        if backbone.name in used and backbone.name in costs.extractors:
            extractor, n_views = costs.extractors[backbone.name], len(backbone.views)
            # Stored features are of all views together: other views are computed anew.
            photos = extractor.missing if n_views == views[backbone.name] else costs.n_photos
            features += photos * n_views * extractor.per_view
    if DESCRIPTOR in used and DESCRIPTOR in costs.extractors:
        features += costs.extractors[DESCRIPTOR].missing * costs.extractors[DESCRIPTOR].per_view
    seconds = {member.name: costs.members.get(str(member.name), 0.0) for member in state.members}
    networks = sum(seconds[member.name] for member in state.members if member.network)
    curve = costs.learning_curve if state.curve else 0.0
    return Estimate(features, sum(seconds.values()) - networks, networks, curve, costs.rest)


def _kept(state: _State, config: Config, costs: Costs) -> str:
    """The member that stays: if there is one, a flat one on the first backbone or on color and texture."""
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

    return str(max(state.members, key=worth).name)


def _steps(state: _State, kept: str, config: Config, costs: Costs) -> Iterator[_Step]:
    """What makes a plan smaller, in order."""
    longest_first = sorted(state.members, key=lambda member: -costs.members.get(str(member.name), 0.0))
    others = [member for member in longest_first if member.name != kept]
    networks = [member for member in others if member.network is not None]
    heads = [member for member in others if member.network is None and member.head.kind == "mlp"]
    plain = [member for member in others if member.network is None and member.head.kind != "mlp"]
    yield from (_without_member(member, "a trained network", costs) for member in networks)
    yield from (_without_member(member, "which has an MLP head", costs) for member in heads)
    most = max((len(backbone.views) for backbone in state.backbones), default=1)
    for n_views in range(most - 1, 0, -1):
        yield from (_with_views(place, n_views, config) for place in reversed(range(len(state.backbones))))
    yield _without_curve
    yield from (_without_backbone(backbone.name, kept) for backbone in reversed(state.backbones[1:]))
    yield from (_without_member(member, "", costs) for member in plain)


def _without_member(member: MemberConfig, which: str, costs: Costs) -> _Step:
    def step(state: _State) -> _State | None:
        left = tuple(other for other in state.members if other.name != member.name)
        if len(left) == len(state.members):
            return None
        seconds = spell(costs.members.get(str(member.name), 0.0))
        named = f"{member.name}, {which}" if which else f"{member.name}"
        return _told(replace(state, members=left), f"{named} (about {seconds})")

    return step


def _with_views(place: int, n_views: int, config: Config) -> _Step:
    def step(state: _State) -> _State | None:
        backbone = state.backbones[place]
        if len(backbone.views) <= n_views:
            return None
        fewer = backbone.model_copy(update={"views": backbone.views[:n_views]})
        told = f"views of {backbone.name}: "
        gone = ", ".join(config.backbones[place].views[n_views:])
        before = tuple(text for text in state.left_out if not text.startswith(_LEFT_OUT + told))
        backbones = (*state.backbones[:place], fewer, *state.backbones[place + 1 :])
        return _told(replace(state, backbones=backbones, left_out=before), told + gone)

    return step


def _without_curve(state: _State) -> _State:
    return _told(replace(state, curve=False), "the learning curve")


def _without_backbone(name: str, kept: str) -> _Step:
    """Without a backbone and the members that stand on it alone, unless the member that stays does."""

    def step(state: _State) -> _State | None:
        members, gone = [], []
        for member in state.members:
            features = tuple(extractor for extractor in member.features or () if extractor != name)
            if member.features and not features:
                gone.append(str(member.name))
            else:
                members.append(
                    member.model_copy(update={"features": features}) if member.features else member
                )
        if kept in gone:
            return None
        told = f"the backbone {name}" + (f" and what stands on it: {', '.join(gone)}" if gone else "")
        backbones = tuple(backbone for backbone in state.backbones if backbone.name != name)
        return _told(replace(state, members=tuple(members), backbones=backbones), told)

    return step


def _told(state: _State, what: str) -> _State:
    return replace(state, left_out=(*state.left_out, _LEFT_OUT + what))


def _configured(config: Config, state: _State) -> Config:
    """The trimmed plan as a configuration that is whole in itself: a fit with it is this fit."""
    trained = {member.network for member in state.members if member.network}
    members = [
        member.model_copy(update={"features": None}) if member.network else member for member in state.members
    ]
    changed = config.model_copy(
        update={
            "members": tuple(members),
            "backbones": state.backbones,
            "networks": tuple(network for network in config.networks if network.name in trained),
        }
    )
    return Config.model_validate(changed.model_dump())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
