"""The page of the documentation with the outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.crashes.matrix.cells import DEPLOYED_WAYS, FAULTS, FOREIGN, WAYS, WORKS, Cell
from tests.crashes.matrix.running import Outcome

HEAD = Path(__file__).with_name("head.md")
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "crash-matrix.md"

Known = list[tuple[Cell, Outcome]]


def page(cells: Iterable[Cell], outcomes: Mapping[str, Outcome]) -> str:
    """Return the page, from the known outcomes of these cells."""
    cells = list(cells)
    known = [(cell, outcomes[str(cell)]) for cell in cells if str(cell) in outcomes]
    parts = [HEAD.read_text(), _summary(cells, known), *_by_points(known)]
    # Both clients beside each other.
    parts.append(_by("the failure that followed", "Failure", known, "fault", FAULTS))
    parts.append(_by("how the call was resumed", "Way", known, "way", WAYS))
    parts += [_through_deployments(known), _not_good(known)]
    return "\n".join(parts)


def _summary(cells: list[Cell], known: Known) -> str:
    columns = "Cells run,Jobs billed,More than one job,No job,Results returned,Interim as promised"
    rows = []
    for work in WORKS:
        here = [outcome for cell, outcome in known if cell.work is work]
        interim = sum(one.interim_as_promised for one in here)
        rows.append(
            (
                _cap(work.name),
                f"{len(here)} of {sum(cell.work is work for cell in cells)}",
                sum(one.paid for one in here),
                sum(one.paid > 1 for one in here),
                sum(one.paid == 0 for one in here),
                sum(one.result_returned for one in here),
                interim if work.interim else "has none",
                sum(one.left_open for one in here),
                sum(one.is_good for one in here),
            )
        )
    return _table("In all", ["", *columns.split(","), "Sessions left open", "Good"], rows)


def _by_points(known: Known) -> Iterable[str]:
    columns = ["Killed", "Cells", "Jobs billed", "Most in one cell", "Results returned", "Good"]
    for work in WORKS:
        rows = []
        for point in work.points:
            here = [one for cell, one in known if cell.work is work and cell.point is point]
            if here:
                paid = [one.paid for one in here]
                returned = sum(one.result_returned for one in here)
                good = sum(one.is_good for one in here)
                rows.append((_cap(point.name), len(here), sum(paid), max(paid), returned, good))
        if rows:
            yield _table(f"{_cap(work.name)}, by where it was killed", columns, rows)


def _by(title: str, name: str, known: Known, part: str, kinds: Iterable[object]) -> str:
    rows = []
    for kind in kinds:
        row: list[object] = [_cap(kind.name)]  # type: ignore[attr-defined]
        for is_foreign in (False, True):
            there = [
                one
                for cell, one in known
                if getattr(cell, part) is kind and (cell.work is FOREIGN) is is_foreign
            ]
            row += [len(there), sum(one.paid for one in there), sum(one.is_good for one in there)]
        rows.append(row)
    columns = [name, "Ours: cells", "jobs billed", "good", "Theirs: cells", "jobs billed", "good"]
    return _table(f"By {title}", columns, rows)


def _through_deployments(known: Known) -> str:
    columns = ["Call", "Killed", "Failure", "Way", "Jobs billed", "Good"]
    rows = []
    for cell, one in known:
        if cell.way in DEPLOYED_WAYS:
            names = [_cap(part.name) for part in (cell.work, cell.point, cell.fault, cell.way)]
            rows.append((*names, one.paid, one.is_good))
    return _table("Through deployments", columns, rows)


def _not_good(known: Known) -> str:
    title = "Cells of this package that are not good"
    rows = [
        (_cap(str(cell)), one.paid, one.result_returned, one.interim_as_promised, one.left_open)
        for cell, one in known
        if not one.is_good and cell.work is not FOREIGN
    ]
    columns = ["Cell", "Jobs billed", "Result returned", "Interim as promised", "Left open"]
    return _table(title, columns, rows) if rows else f"## {title}\n\nNone.\n"


def _table(title: str, columns: list[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [f"## {title}\n", _line(columns), f"|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(_line(map(_text, row)) for row in rows), ""])


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _cap(text: str) -> str:
    return text if text.startswith("prefect-qiskit") else text[0].upper() + text[1:]
