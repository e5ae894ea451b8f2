"""Read request bodies: JSON objects whose inputs must be stored exactly as sent.

IBM's clients omit the JSON content type on some calls, so bodies are parsed regardless of it.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the json package's own scanner
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.service.problem import invalid_from

LARGEST_INTEGER = 2**31 - 1
"""The largest integer that a request may contain in a field that is stored."""

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_INLINE_BYTES = 256 * 1024

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class JsonObject:
    """A JSON object with the text of each of its values.

    Attributes:
        fields: The values by name.
        spans: Where the text of each value begins and ends in `text`.
    """

    text: str
    fields: dict[str, Any]
    spans: dict[str, tuple[int, int]]

    def raw(self, name: str) -> str:
        """Return the text of a value exactly as sent."""
        start, end = self.spans[name]
        return self.text[start:end]


async def read_object(request: Request) -> JsonObject:
    """Read the body of a request as a JSON object.

    Raises:
        InvalidInputError: The body is not a JSON object.
    """
    body = await request.body()
    if len(body) <= _INLINE_BYTES:
        return parse_object(body)
    return await asyncio.to_thread(parse_object, body)


async def read_model(request: Request, model: type[ModelT], what: str) -> ModelT:
    """Read the body of a request as a given model.

    Raises:
        InvalidInputError: The body does not fit the model; the error names the path and the rule.
    """
    body = await read_object(request)
    return validate(model, body.fields, what)


def validate(model: type[ModelT], fields: dict[str, Any], what: str) -> ModelT:
    """Return fields as a model; raise InvalidInputError if they do not fit."""
    try:
        parsed = model.model_validate(fields)
        parsed.model_dump_json()
    except ValidationError as exc:
        raise invalid_from(exc, what) from exc
    except PydanticSerializationError as exc:
        # Half of a surrogate pair is valid in JSON but is not Unicode text, so it cannot be stored.
        raise InvalidInputError(
            f"Invalid {what}: it contains text that is not Unicode (a lone surrogate).",
            rule="Unicode text",
        ) from exc
    return parsed


def parse_object(body: bytes) -> JsonObject:
    """Parse a JSON object, recording the position of each value."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"The request's body is not UTF-8: {exc.reason}.") from exc
    try:
        return _scan(text)
    except (ValueError, RecursionError, StopIteration) as exc:
        reason = exc.msg if isinstance(exc, json.JSONDecodeError) else "it cannot be parsed"
        at = f" at character {exc.pos}" if isinstance(exc, json.JSONDecodeError) else ""
        raise InvalidInputError(f"The request's body is not a JSON object: {reason}{at}.") from exc


def _scan(text: str) -> JsonObject:
    fields: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    position = _expect(text, _skip(text, 0), "{")
    position = _skip(text, position)
    if text[position : position + 1] == "}":
        _expect_end(text, position + 1)
        return JsonObject(text, fields, spans)
    while True:
        name, position = scanstring(text, _expect(text, position, '"'))
        start = _skip(text, _expect(text, _skip(text, position), ":"))
        fields[name], end = _DECODER.raw_decode(text, start)
        spans[name] = (start, end)
        position = _skip(text, end)
        if text[position : position + 1] == "}":
            _expect_end(text, position + 1)
            return JsonObject(text, fields, spans)
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
