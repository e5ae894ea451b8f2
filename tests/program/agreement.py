"""Whether samples agree with probabilities, by an exact test at a stated rate of false alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from scipy import stats

# Of all comparisons of one run together; each test says how many it makes at most, and the rate of
# each comparison is that part of it (Bonferroni). Seeds are fixed in CI, so it is not a rate there.
FALSE_ALARMS = 1e-4
_IMPOSSIBLE = 1e-11


def disagreements(
    counts: Mapping[Any, int], probabilities: Mapping[Any, float], *, comparisons: int
) -> list[str]:
    """Describe each outcome that came too often or too rarely.

    Args:
        counts: How often each outcome came.
        probabilities: Of each outcome that can come.
        comparisons: How many outcomes are compared in the whole run, at most.
    """
    shots = sum(counts.values())
    limit = FALSE_ALARMS / comparisons / 2
    found = []
    for outcome in {*counts, *probabilities}:
        expected = min(1.0, max(0.0, probabilities.get(outcome, 0.0)))
        count = counts.get(outcome, 0)
        if expected < _IMPOSSIBLE:
            chance = 0.0 if count else 1.0
        else:
            binomial = stats.binom(shots, min(expected, 1.0))
            chance = min(binomial.cdf(count), binomial.sf(count - 1))
        if chance < limit:
            found.append(f"{outcome}: {count} of {shots}, expected {expected * shots:.1f}")
    return found


def marginal(probabilities: Mapping[tuple[int, ...], float], bits: list[int]) -> dict[Any, float]:
    """Return the probabilities of some of the bits."""
    found: Counter[Any] = Counter()
    for outcome, chance in probabilities.items():
        found[tuple(outcome[bit] for bit in bits)] += chance  # type: ignore[assignment]
    return dict(found)


def parity_chances(value: float) -> dict[int, float]:
    """Return the chances of the two outcomes of a Pauli with an expectation value."""
    return {1: (1 + value) / 2, -1: (1 - value) / 2}


def parity_counts(value: float, shots: int) -> dict[int, int]:
    """Return how often each outcome came, from their mean."""
    ones = round((1 + value) / 2 * shots)
    return {1: ones, -1: shots - ones}
