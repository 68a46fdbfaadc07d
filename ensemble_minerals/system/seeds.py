"""Random seeds for the parts of a job, made from one seed."""

from __future__ import annotations

import numpy as np


def derived_seed(*entropy: int) -> int:
    """A seed for one purpose, made from several numbers; other numbers give unrelated random streams.

    Args:
        entropy: A seed, and numbers that tell the purpose from others, such as the position of a member. None is
            negative.

    Example:
        >>> derived_seed(7, 3), derived_seed(7, 4)
        (3466196061, 3335713882)
    """
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
