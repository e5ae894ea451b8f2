"""The base class of all models, tolerant side fields, and the protocol version."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticUseDefault

PROTOCOL_VERSION = 1
"""Version of our additions to IBM's protocol. Part of the embedded home's path."""

UNKNOWN = "unknown"
"""Value of a text that a service left out, or sent in a form that cannot be read."""


class WireStatus(StrEnum):
    """The base class of statuses. Upper and lower case are equal, and services may add statuses.

    A status that a service has added since equals none of the known ones. It keeps its text, for
    display, as its name and value. It survives pickling, and two of the same text are equal, but
    not identical.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        text = value.strip() if isinstance(value, str) else ""
        if not text:
            return None
        for known in cls:
            if known.value.lower() == text.lower():
                return known
        added = str.__new__(cls, text)
        added._name_ = added._value_ = text
        return added


class Wire(BaseModel):
    """The base class. Unknown fields are ignored, and null is the same as a missing field.

    Services add fields and change them, so a field is essential only if nothing can be done
    without it, such as an id or a status. All others are annotated with `Side`.
    """

    # Validation errors name the field, not its value, which may be an input or a result.
    model_config = ConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}

    @classmethod
    def from_listing(cls, item: Any) -> Self:
        """Parse an item of a listing, whose faults must not hide the other items."""
        return cls.model_validate(item)


def _read_or_default(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a value, or else the readable items of a list or an object, or use the default."""
    try:
        return read(value)
    except ValidationError:
        pass
    if isinstance(value, list):
        parts = [part for item in value for part in _items(read, [item], list)]
    elif isinstance(value, dict):
        parts = [part for name in value for part in _items(read, {name: value[name]}, dict)]
    else:
        parts = []
    if not parts:
        raise PydanticUseDefault
    return read(parts if isinstance(value, list) else dict(parts))


def _items(read: ValidatorFunctionWrapHandler, one: Any, kind: type) -> list[Any]:
    try:
        found = read(one)
    except ValidationError:
        return []
    if not isinstance(found, kind):
        return []
    return list(one.items()) if isinstance(one, dict) else list(one)


Read = TypeVar("Read")
Side = Annotated[Read, WrapValidator(_read_or_default)]
"""A field without which the rest of an answer is still useful.

If it is null, missing or of another type, the field has its default, which means "not known". An
unreadable item of a list or an object is left out. `Side[int | None] = None` reads `7` as 7, and
`null`, `"many"` and no field at all as None.
"""

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
"""A duration. Truth values, texts, negative numbers and infinity are not durations."""

WholeSeconds = Annotated[int, Field(strict=True, ge=0)]
"""A duration in whole seconds."""


def _refuse_number(given: Any) -> Any:
    if isinstance(given, str | datetime):
        return given
    raise ValueError("a number is not a time of the protocol")


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


Moment = Annotated[datetime, BeforeValidator(_refuse_number), AfterValidator(_in_utc)]
"""A time; in UTC if the service does not name a zone."""
