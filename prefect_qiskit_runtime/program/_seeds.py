"""Seeds for one call after the other."""

from __future__ import annotations

import threading

import numpy as np


class SeedSource:
    """Gives each call a seed of its own, reproducibly if it was given one to start from.

    Two evaluations at the same point must be two samples (SPSA lives on it), so a seed is
    never used twice.
    """

    def __init__(self, seed: int | None) -> None:
        self._sequence = np.random.SeedSequence(seed)
        self._lock = threading.Lock()

    def draw(self) -> int:
        """Return the next seed, as a number that a simulator takes (below 2**31)."""
        with self._lock:
            (child,) = self._sequence.spawn(1)
        return int(child.generate_state(1)[0] >> 1)
