"""Which arms an ablation runs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import TypedDict, Unpack

from ensemble_minerals.ablation.arms import Arm, list_arms
from ensemble_minerals.errors import UserError
from ensemble_minerals.members.base import Member


class ArmSettings(TypedDict, total=False):
    """What of a configuration decides which arms there are; see `list_arms`."""

    calibrate: bool
    viewed: Collection[str]
    rejects: bool


def select_arms(
    members: Sequence[Member], wanted: Sequence[str] | None, **settings: Unpack[ArmSettings]
) -> tuple[Arm, ...]:
    """The arms that the user named, and the full ensemble.

    Args:
        members: Of the ensemble.
        wanted: Names or kinds of arms; all arms if None.
        settings: See `list_arms`.

    Raises:
        UserError: If there is no such arm; names the nearest one.
    """
    known = list_arms(members, **settings)
    names = list(dict.fromkeys([arm.kind for arm in known] + [arm.name for arm in known]))
    for name in wanted or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UserError(f"no arm is called {name!r}{hint} Kinds and arms here: {', '.join(names)}")
    return list_arms(members, wanted, **settings)
