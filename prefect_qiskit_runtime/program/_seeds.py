"""Seeds for successive calls."""

from __future__ import annotations

import threading

import numpy as np


class SeedSource:
    """Gives each call a different seed, reproducibly if it was created with a seed.

    Two evaluations at the same point must be independent samples (SPSA depends on this), so a seed
    is never used twice.
    """

    def __init__(self, seed: int | None) -> None:
        self._sequence = np.random.SeedSequence(seed)
        self._lock = threading.Lock()

    def draw(self) -> int:
        """Return the next seed, a number that a simulator accepts (below 2**31)."""
        with self._lock:
            (child,) = self._sequence.spawn(1)
        return int(child.generate_state(1)[0] >> 1)
