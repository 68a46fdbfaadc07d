"""The configurations that a search may try: heads, penalties, samplers, views and members, around a first one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import ConfigError, UserError

PENALTIES = (3.0, 10.0, 30.0, 50.0, 100.0, 300.0, 1000.0, 3000.0)
"""Inverse penalties (C) of logistic heads."""

SHRINKAGES = (0.1, 0.2, 0.3, 0.5, 0.8)
"""Shrinkages of discriminants."""

SAMPLERS = ("none", "random", "smote")
"""Over-samplers of logistic heads."""

STRATEGIES = ("flat", "one_vs_rest", "hierarchical")

_WHOLE = ("squash", "pad")
"""Views that show the whole photo."""

Choices = Mapping[str, Any]
"""A value for each parameter of a configuration; parameters of what is left out have none."""


class Chooser(Protocol):
    """What draws values, as Optuna's trial does."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""


@dataclass(frozen=True)
class Slot:
    """A member that may be there.

    Attributes:
        name: Its name.
        features: What it sees.
        strategy: Its strategy.
        given: The member of the first configuration; None if it has none like this.
    """

    name: str
    features: tuple[str, ...]
    strategy: str
    given: MemberConfig | None


class SearchSpace:
    """Configurations around a first one.

    Every member of the first configuration may stay, go, or get another head, penalty or sampler; members on the same
    features with another strategy may come. Each backbone may lose its views of the whole photo or the closer ones,
    and its views may be averaged or be training rows. All else stays.

    Args:
        start: The first configuration; its members learn from frozen features.

    Raises:
        UserError: If a member trains a network.
    """

    def __init__(self, start: Config) -> None:
        members = start.expanded_members()
        trained = [str(member.name) for member in members if member.network is not None]
        if trained:
            raise UserError(
                f"tune searches on features that are computed once, and {trained[0]} trains a network: take a "
                "configuration without, and put the network beside the members that tune writes"
            )
        self.start = start
        self.backbones = {backbone.name: backbone for backbone in start.backbones}
        own = [Slot(str(one.name), tuple(one.features or ()), one.strategy, one) for one in members]
        taken = {(slot.features, slot.strategy) for slot in own}
        seen = dict.fromkeys(slot.features for slot in own)
        names = {slot.name for slot in own}
        self.slots = own + [
            Slot(name, features, strategy, None)
            for features in seen
            for strategy in STRATEGIES
            if (features, strategy) not in taken
            and (name := f"{'+'.join(features) if len(features) < 3 else 'all'}-{strategy}") not in names
        ]

    @property
    def parts(self) -> tuple[str, ...]:
        """What can be changed alone: members and backbones; parameters begin with these names and a colon."""
        viewed = [name for name, backbone in self.backbones.items() if len(backbone.views) > 1]
        return (*viewed, *(slot.name for slot in self.slots))

    def first(self) -> dict[str, Any]:
        """The choices that give the first configuration."""
        chosen: dict[str, Any] = {}
        for name, backbone in self.backbones.items():
            if len(backbone.views) > 1:
                chosen |= {f"{name}:views": "all", f"{name}:pooling": backbone.pooling}
        for slot in self.slots:
            chosen[f"{slot.name}:used"] = slot.given is not None
            if slot.given is not None:
                chosen |= {f"{slot.name}:head": "given", f"{slot.name}:sampler": "given"}
        return chosen

    def draw(self, chooser: Chooser) -> Config:
        """Draw a configuration.

        Raises:
            ConfigError: If what was drawn does not go together.
        """
        backbones = [self._backbone(chooser, backbone) for backbone in self.backbones.values()]
        members = [member for slot in self.slots if (member := self._member(chooser, slot)) is not None]
        if not members:
            raise ConfigError(["members: none is left"])
        seen = {name for member in members for name in member["features"]}
        data = self.start.model_dump()
        data["backbones"] = [one for one in backbones if one["name"] in seen]
        data["extractors"] = [one for one in data.get("extractors", ()) if one["name"] in seen]
        data["members"] = members
        return build_config(_plain(data))

    def _backbone(self, chooser: Chooser, backbone: BackboneConfig) -> dict[str, Any]:
        data = backbone.model_dump()
        if len(backbone.views) > 1:
            subsets = view_subsets(backbone.views)
            picked = chooser.suggest_categorical(f"{backbone.name}:views", tuple(subsets))
            ways = tuple(dict.fromkeys((backbone.pooling, "mean", "rows")))
            data["views"] = subsets[picked]
            data["pooling"] = chooser.suggest_categorical(f"{backbone.name}:pooling", ways)
        return data

    def _member(self, chooser: Chooser, slot: Slot) -> dict[str, Any] | None:
        if not chooser.suggest_categorical(f"{slot.name}:used", (True, False)):
            return None
        given = slot.given
        heads, samplers = _heads(), {name: {"kind": name} for name in SAMPLERS}
        data: dict[str, Any] = {"name": slot.name, "features": slot.features, "strategy": slot.strategy}
        if given is not None:
            heads["given"], samplers["given"] = given.head.model_dump(), given.sampler.model_dump()
            data["prior_correction"] = given.prior_correction
        head = chooser.suggest_categorical(f"{slot.name}:head", tuple(heads))
        data["head"] = heads[head]
        if data["head"]["kind"] != "discriminant":  # which takes rows as they are
            sampler = chooser.suggest_categorical(f"{slot.name}:sampler", tuple(samplers))
            data["sampler"] = samplers[sampler]
        elif head == "given":
            data["sampler"] = samplers["given"]
        return data


def view_subsets(views: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Views of a backbone that a search may keep, by what they are called.

    Example:
        >>> view_subsets(("squash", "top_left", "top_right"))
        {'all': ('squash', 'top_left', 'top_right'), 'whole': ('squash',), 'closer': ('top_left', 'top_right')}
    """
    whole = tuple(view for view in views if view.removesuffix("_flip") in _WHOLE)
    closer = tuple(view for view in views if view not in whole)
    subsets = {"all": views}
    if whole and closer:
        subsets |= {"whole": whole, "closer": closer}
    return subsets


def describe_changes(start: Config, tuned: Config) -> list[tuple[str, str, str]]:
    """What differs between two configurations: (part, before, after), in words."""
    before, after = _in_words(start), _in_words(tuned)
    pairs = [
        (name, before.get(name, "not there"), after.get(name, "left out"))
        for name in dict.fromkeys((*before, *after))
    ]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _in_words(config: Config) -> dict[str, str]:
    """Backbones and members by name."""
    words = {backbone.name: _backbone_words(backbone) for backbone in config.backbones}
    return words | {str(member.name): _member_words(member) for member in config.expanded_members()}


def _backbone_words(backbone: BackboneConfig) -> str:
    pooling = {"mean": "averaged", "concat": "side by side", "rows": "training rows"}[backbone.pooling]
    return ", ".join(backbone.views) + (f"; {pooling}" if len(backbone.views) > 1 else "")


def _member_words(member: MemberConfig) -> str:
    kind, values = member.head.kind, member.head.model_dump()
    setting = {"logistic": "C", "discriminant": "shrinkage"}.get(kind)
    value = values.get(str(setting))
    own = "" if value is None else f" {setting}={value if isinstance(value, str) else f'{value:g}'}"
    sampler = "" if member.sampler.kind == "none" else f", {member.sampler.kind}"
    return f"{kind}{own}{sampler}"


def _heads() -> dict[str, dict[str, Any]]:
    return {f"logistic C={C:g}": {"kind": "logistic", "C": C} for C in PENALTIES} | {
        f"discriminant {share:g}": {"kind": "discriminant", "shrinkage": share} for share in SHRINKAGES
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
