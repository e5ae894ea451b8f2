"""Texts of JSON objects, whose values are kept exactly as they were sent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the json package's own scanner
from typing import Any

from prefect_qiskit_runtime.errors import InvalidInputError

__all__ = ["JsonObject", "find_values", "parse_object", "parse_small_values"]

LARGEST_VALUE_BYTES = 256 * 1024
"""A larger value that is not a string is not parsed in the service's own process."""

_MOST_VALUES = 1000
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class JsonObject:
    """A JSON object with the text of each of its values.

    Attributes:
        body: Its text, in UTF-8.
        fields: The values by name, without those that are too large to be parsed here.
        spans: Where the text of each value begins and ends in `body`.
    """

    body: bytes
    fields: dict[str, Any]
    spans: dict[str, tuple[int, int]]

    def raw(self, name: str) -> bytes:
        """Return the text of a value exactly as sent."""
        begin, end = self.spans[name]
        return self.body[begin:end]


def parse_object(body: bytes) -> JsonObject:
    """Parse a JSON object, recording the position of each value.

    Raises:
        InvalidInputError: The body is not a JSON object.
    """
    return JsonObject(body, *_parse(body))


def find_values(body: bytes | bytearray) -> dict[str, tuple[int, int]]:
    """Return where the text of each value of a JSON object begins and ends.

    Every value is parsed, which may take very much time and memory.

    Raises:
        InvalidInputError: The body is not a JSON object, or has very many fields.
    """
    spans = _parse(body)[1]
    if len(spans) > _MOST_VALUES:
        raise InvalidInputError(
            f"The request's body has {len(spans)} fields; at most {_MOST_VALUES} are accepted.",
            rule=f"at most {_MOST_VALUES} fields",
        )
    return spans


def parse_small_values(body: bytes, spans: dict[str, tuple[int, int]]) -> JsonObject:
    """Return a large object whose values were found before, and are valid JSON.

    A text of a few megabytes can hold a million values, which take seconds to build, and Python
    does nothing else meanwhile. Strings are cheap however large they are.
    """
    fields = {
        name: json.loads(body[begin:end].decode())
        for name, (begin, end) in spans.items()
        if body[begin] == ord('"') or end - begin <= LARGEST_VALUE_BYTES
    }
    return JsonObject(body, fields, spans)


def _parse(body: bytes | bytearray) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    text = _decode(body)
    try:
        fields, spans = _scan(text)
    except (ValueError, RecursionError, StopIteration) as exc:
        reason = exc.msg if isinstance(exc, json.JSONDecodeError) else "it cannot be parsed"
        at = f" at character {exc.pos}" if isinstance(exc, json.JSONDecodeError) else ""
        raise InvalidInputError(f"The request's body is not a JSON object: {reason}{at}.") from exc
    return fields, spans if len(text) == len(body) else _in_bytes(text, spans)


def _in_bytes(text: str, spans: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return positions in the UTF-8 form of a text from those of its characters."""
    places = sorted(place for span in spans.values() for place in span)
    in_bytes, last, count = {}, 0, 0
    for place in places:
        count += len(text[last:place].encode())
        in_bytes[place], last = count, place
    return {name: (in_bytes[begin], in_bytes[end]) for name, (begin, end) in spans.items()}


def _decode(body: bytes | bytearray) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"The request's body is not UTF-8: {exc.reason}.") from exc


def _scan(text: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    fields: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    position = _expect(text, _skip(text, 0), "{")
    position = _skip(text, position)
    if text[position : position + 1] == "}":
        _expect_end(text, position + 1)
        return fields, spans
    while True:
        name, position = scanstring(text, _expect(text, position, '"'))
        start = _skip(text, _expect(text, _skip(text, position), ":"))
        fields[name], end = _DECODER.raw_decode(text, start)
        spans[name] = (start, end)
        position = _skip(text, end)
        if text[position : position + 1] == "}":
            _expect_end(text, position + 1)
            return fields, spans
        position = _skip(text, _expect(text, position, ","))


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return position if space is None else space.end()


def _expect(text: str, position: int, character: str) -> int:
    if text[position : position + 1] != character:
        raise json.JSONDecodeError(f"expected {character!r}", text, position)
    return position + 1


def _expect_end(text: str, position: int) -> None:
    if _skip(text, position) != len(text):
        raise json.JSONDecodeError("text after its end", text, position)
