"""Changes to an answer: fields removed, nulled, of another type, and added; and broken bodies."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

OTHERS: list[Any] = [None, True, -1, 10**30, 1.5, "", "other", [], [None], {}, {"other": 1}]
"""Values to put in place of a field, among them one of each type."""

HTML = b"<html><body><h1>Sign in to the network</h1></body></html>"


@dataclass(frozen=True)
class Change:
    """One change to an answer.

    Attributes:
        path: The changed field; for an addition, the object that gets one more.
        how: "remove", "replace" or "add".
        value: The new value.
    """

    path: Path
    how: str
    value: Any = None

    def touches(self, essential: Sequence[str]) -> bool:
        """Return whether an essential path, with `*` for any index, is changed or within."""
        if self.how == "add":
            return False
        shorter = min(len(self.path), len(essential))
        pairs = zip(self.path[:shorter], essential[:shorter], strict=True)
        return all(wanted in ("*", str(part)) for part, wanted in pairs)


def paths_of(value: Any, before: Path = ()) -> Iterator[Path]:
    """Yield the paths of a value and of everything in it."""
    yield before
    if isinstance(value, dict):
        for name, one in value.items():
            yield from paths_of(one, (*before, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from paths_of(one, (*before, index))


def at(body: Any, path: Path) -> Any:
    """Return the value at a path."""
    for part in path:
        body = body[part]
    return body


@st.composite
def changes(draw: st.DrawFn, body: Any, keep: Callable[[Path], bool] = lambda _: False) -> Change:
    """Draw one change to a body; fields for which `keep` is true are not changed."""
    path = draw(st.sampled_from([path for path in paths_of(body) if not keep(path)]))
    there = at(body, path)
    if isinstance(there, dict) and draw(st.booleans()):
        return Change(path, "add", draw(st.sampled_from(OTHERS)))
    # A row that is removed from a list was never sent, as far as a client can see.
    is_in_object = bool(path) and isinstance(path[-1], str)
    if is_in_object and draw(st.booleans()):
        return Change(path, "remove")
    others = [one for one in OTHERS if not is_alike(one, there)]
    return Change(path, "replace", draw(st.sampled_from(others)))


def is_alike(one: Any, other: Any) -> bool:
    """Return whether two values are of one type of the protocol; a negative number is another."""

    def kind(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return ("number", value >= 0) if is_number else type(value)

    return kind(one) == kind(other)


def changed(body: Any, made: Sequence[Change]) -> Any:
    """Return a copy of a body with changes; a change whose place is gone has no effect."""
    body = copy.deepcopy(body)
    for change in made:
        if not change.path and change.how == "replace":
            body = copy.deepcopy(change.value)
            continue
        try:
            where = at(body, change.path if change.how == "add" else change.path[:-1])
            if change.how == "add":
                where["added_by_a_later_version"] = change.value
            elif change.how == "remove":
                del where[change.path[-1]]
            else:
                where[change.path[-1]] = change.value
        except (KeyError, IndexError, TypeError):
            continue
    return body


def broken_bodies(body: Any) -> dict[str, bytes]:
    """Return bodies that arrive broken, by what happened to them."""
    whole = json.dumps(body).encode()
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "garbled": bytes(byte ^ 0x55 for byte in whole),
        "not text": b"\xff\xfe" + whole,
        "html": HTML,
        "nested": b"[" * 100_000,
        "number": b"7",
        "null": b"null",
        "list": b"[]",
    }
