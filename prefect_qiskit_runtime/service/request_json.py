"""Read request bodies: JSON objects whose inputs must be stored exactly as sent.

IBM's clients omit the JSON content type on some calls, so bodies are parsed regardless of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.service.checker import Checker
from prefect_qiskit_runtime.service.json_text import (
    LARGEST_VALUE_BYTES,
    JsonObject,
    parse_object,
    parse_small_values,
)
from prefect_qiskit_runtime.service.problem import PayloadTooLargeError, invalid_from

LARGEST_INTEGER = 2**31 - 1
"""The largest integer that a request may contain in a field that is stored."""

_INLINE_BYTES = 256 * 1024

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_object(
    request: Request,
    checker: Checker | None = None,
    user: str = "",
    *,
    unparsed: Collection[str] = (),
) -> JsonObject:
    """Read the body of a request as a JSON object.

    Args:
        request: The request.
        checker: Parses large bodies in another process. None for routes that accept small ones
            only.
        user: The caller.
        unparsed: Names of values that may be too large to be parsed here; they are then not in
            `fields`.

    Raises:
        InvalidInputError: The body is not a JSON object.
        PayloadTooLargeError: Another value is too large.
    """
    body = await request.body()
    if checker is None or len(body) <= LARGEST_VALUE_BYTES:
        return parse_object(body)
    spans = await checker.find_values(user, body)
    parsed = await asyncio.to_thread(parse_small_values, body, spans)
    for name in spans.keys() - parsed.fields.keys() - set(unparsed):
        raise PayloadTooLargeError(
            f"`{name[:80]}` is larger than {LARGEST_VALUE_BYTES} bytes. Send less data.",
            path=f"$.{name[:80]}",
            rule=f"at most {LARGEST_VALUE_BYTES} bytes",
        )
    return parsed


async def read_model(
    request: Request,
    model: type[ModelT],
    what: str,
    *,
    checker: Checker | None = None,
    user: str = "",
) -> ModelT:
    """Read the body of a request as a given model.

    Raises:
        InvalidInputError: The body does not fit the model; the error names the path and the rule.
    """
    body = await read_object(request, checker, user)
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
