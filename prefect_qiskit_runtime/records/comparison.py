"""Compare two jobs: their settings, calibration, versions, results and usage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_qiskit_runtime.provenance import Provenance

_SPEND = ("queue_seconds", "run_seconds", "usage_seconds", "quantum_seconds")
_NOT_COMPARED = {
    "format_version",
    "job_id",
    "key",
    "submitted_at",
    "started_at",
    "ended_at",
    "earlier_job_ids",
    "root_flow_run_id",
    "flow_run_id",
    "task_run_id",
    *_SPEND,
}
_MOST_NUMBERS = 50


@dataclass(frozen=True)
class Difference:
    """One value of two jobs, which usually differs between them.

    Attributes:
        part: "settings", "calibration", "versions", "results" or "spend".
        name: Name of the value.
        a: The value of the first job; None if it has none.
        b: The value of the second job; None if it has none.
    """

    part: str
    name: str
    a: Any
    b: Any

    @property
    def change(self) -> float | None:
        """The change from the first job to the second, if both values are numbers."""
        if all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in (self.a, self.b)
        ):
            return self.b - self.a
        return None


def compare(a: Provenance, b: Provenance, results: tuple[Any, Any] | None) -> list[Difference]:
    """Return the differences between two jobs; results and usage are listed even if equal.

    Args:
        a: The first job.
        b: The second job.
        results: Their decoded results; None to leave out the results.
    """
    differences = [
        Difference(_part(name), name, one, other)
        for name, one, other in _side_by_side(a.to_row(as_json=True), b.to_row(as_json=True))
        if name not in _NOT_COMPARED and one != other
    ]
    if results is not None:
        differences += _of_results(*results)
    differences += [
        Difference("spend", name, getattr(a, name), getattr(b, name)) for name in _SPEND
    ]
    order = ("settings", "calibration", "versions", "results", "spend")
    return sorted(differences, key=lambda one: order.index(one.part))


def _of_results(a: Any, b: Any) -> list[Difference]:
    numbers = [dict(_numbers(one)) for one in (a, b)]
    if any(not 0 < len(found) <= _MOST_NUMBERS for found in numbers):
        return [Difference("results", "equal", _is_equal(a, b), _is_equal(a, b))]
    return [Difference("results", *row) for row in _side_by_side(*numbers)]


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in a result with their paths; for PUB results, values and errors."""
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, int | float):
        yield path or "value", value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}" if path else str(name))
    elif hasattr(value, "data") and hasattr(value, "metadata"):  # the result of a PUB
        found = {name: getattr(value.data, name) for name in ("evs", "stds") if name in value.data}
        yield from _numbers(found, path)
    elif hasattr(value, "tolist"):
        yield from _numbers(value.tolist(), path)
    elif isinstance(value, list | tuple) or hasattr(value, "__getitem__"):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{index}]")


def _is_equal(a: Any, b: Any) -> bool:
    return bool(a == b)


def _side_by_side(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys([*a, *b]):
        yield name, a.get(name), b.get(name)


def _part(name: str) -> str:
    head = name.partition(".")[0]
    if head == "calibration":
        return "calibration"
    return "versions" if head in ("versions", "job_versions", "image") else "settings"
