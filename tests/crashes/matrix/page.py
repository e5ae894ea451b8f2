"""The page of the documentation that says what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.crashes.matrix.cells import DEPLOYED_WAYS, FAULTS, FOREIGN, WAYS, WORKS, Cell, Work
from tests.crashes.matrix.running import Outcome

HEAD = Path(__file__).with_name("head.md")
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "crash-matrix.md"

SUMMARY = (
    *("Cells run", "Jobs paid", "More than one job", "No job", "Results returned"),
    *("Interim as promised", "Sessions left open", "Good"),
)

Outcomes = list[tuple[Cell, Outcome]]


def page(cells: Iterable[Cell], outcomes: Mapping[str, Outcome]) -> str:
    """Return the page, from what is known of these cells."""
    cells = list(cells)
    known = [(cell, outcomes[str(cell)]) for cell in cells if str(cell) in outcomes]
    parts = [HEAD.read_text(), _summary(cells, known)]
    parts += [_by_point(work, _of(work, known)) for work in WORKS if _of(work, known)]
    parts.append(_by_fault(known))
    parts.append(_by_way(known))
    parts.append(_through_deployments(known))
    parts.append(_not_good(known))
    return "\n".join(parts)


def _of(work: Work, known: Outcomes) -> Outcomes:
    return [(cell, outcome) for cell, outcome in known if cell.work is work]


def _summary(cells: list[Cell], known: Outcomes) -> str:
    lines = [
        "## In all\n",
        _header("", *SUMMARY),
    ]
    for work in WORKS:
        ours = [outcome for _, outcome in _of(work, known)]
        planned = sum(cell.work is work for cell in cells)
        interim = str(sum(one.interim_as_promised for one in ours)) if work.interim else "has none"
        lines.append(
            f"| {_cap(work.name)} | {len(ours)} of {planned} | {sum(one.paid for one in ours)}"
            f" | {sum(one.paid > 1 for one in ours)} | {sum(one.paid == 0 for one in ours)}"
            f" | {sum(one.result_returned for one in ours)} | {interim}"
            f" | {sum(one.left_open for one in ours)} | {sum(one.is_good for one in ours)} |"
        )
    return "\n".join([*lines, ""])


def _by_point(work: Work, known: Outcomes) -> str:
    lines = [
        f"## {_cap(work.name)}, by where it was killed\n",
        _header("Killed", "Cells", "Jobs paid", "Most in one cell", "Results returned", "Good"),
    ]
    for point in work.points:
        here = [outcome for cell, outcome in known if cell.point is point]
        if here:
            lines.append(f"| {_cap(point.name)} | {_row(here)} |")
    return "\n".join([*lines, ""])


def _by_fault(known: Outcomes) -> str:
    return _side_by_side(
        "By what failed then",
        "What failed",
        known,
        [(fault.name, lambda cell, fault=fault: cell.fault is fault) for fault in FAULTS],
    )


def _by_way(known: Outcomes) -> str:
    return _side_by_side(
        "By how it was taken up",
        "Way",
        known,
        [(way.name, lambda cell, way=way: cell.way is way) for way in WAYS],
    )


def _side_by_side(
    title: str, name: str, known: Outcomes, kinds: list[tuple[str, Callable[[Cell], bool]]]
) -> str:
    """Set both clients beside each other; each entry is jobs paid in so many cells, and good."""
    lines = [
        f"## {title}\n",
        _header(name, "Ours: cells", "jobs paid", "good", "Theirs: cells", "jobs paid", "good"),
    ]
    for kind, fits in kinds:
        columns: list[str] = []
        for is_foreign in (False, True):
            there = [
                outcome
                for cell, outcome in known
                if fits(cell) and (cell.work is FOREIGN) is is_foreign
            ]
            paid, good = sum(one.paid for one in there), sum(one.is_good for one in there)
            columns += [str(len(there)), str(paid), str(good)]
        lines.append(f"| {_cap(kind)} | {' | '.join(columns)} |")
    return "\n".join([*lines, ""])


def _through_deployments(known: Outcomes) -> str:
    lines = [
        "## Through deployments\n",
        _header("What ran", "Killed", "What failed then", "Way", "Jobs paid", "Good"),
    ]
    for cell, one in known:
        if cell.way in DEPLOYED_WAYS:
            names = (cell.work.name, cell.point.name, cell.fault.name, cell.way.name)
            told = f"{one.paid} | {'yes' if one.is_good else 'no'}"
            lines.append(f"| {' | '.join(_cap(name) for name in names)} | {told} |")
    return "\n".join([*lines, ""])


def _not_good(known: Outcomes) -> str:
    bad = [(cell, one) for cell, one in known if not one.is_good and cell.work is not FOREIGN]
    if not bad:
        return "## Cells of this package that are not good\n\nNone.\n"
    lines = [
        "## Cells of this package that are not good\n",
        _header("Cell", "Jobs paid", "Result returned", "Interim as promised", "Left open"),
    ]
    for cell, one in bad:
        told = (one.result_returned, one.interim_as_promised)
        yes_no = " | ".join("yes" if said else "no" for said in told)
        lines.append(f"| {_cap(str(cell))} | {one.paid} | {yes_no} | {one.left_open} |")
    return "\n".join([*lines, ""])


def _header(*names: str) -> str:
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _row(outcomes: list[Outcome]) -> str:
    paid = [one.paid for one in outcomes]
    returned = sum(one.result_returned for one in outcomes)
    good = sum(one.is_good for one in outcomes)
    return f"{len(paid)} | {sum(paid)} | {max(paid)} | {returned} | {good}"


def _cap(text: str) -> str:
    return text if text.startswith("prefect-qiskit") else text[0].upper() + text[1:]
