"""Which arms an ablation runs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ensemble_minerals.ablation.arms import Arm, list_arms
from ensemble_minerals.errors import UserError
from ensemble_minerals.members.base import Member


def select_arms(
    members: Sequence[Member], wanted: Sequence[str] | None, *, calibrate: bool
) -> tuple[Arm, ...]:
    """The arms that the user named, and the full ensemble.

    Args:
        members: Of the ensemble.
        wanted: Names or kinds of arms; all arms if None.
        calibrate: Whether the ensemble is calibrated.

    Raises:
        UserError: If there is no such arm; names the nearest one.
    """
    known = list_arms(members, calibrate=calibrate)
    names = list(dict.fromkeys([arm.kind for arm in known] + [arm.name for arm in known]))
    for name in wanted or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UserError(f"no arm is called {name!r}{hint} Kinds and arms here: {', '.join(names)}")
    return list_arms(members, wanted, calibrate=calibrate)
