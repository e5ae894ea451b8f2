"""Requests about programs and jobs, and the parsing of their answers: objects and pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from prefect_qiskit_runtime.client._answers import Call, known_services, malformed
from prefect_qiskit_runtime.client._transport import Query, Transport
from prefect_qiskit_runtime.errors import ConfigurationError, ProtocolError
from prefect_qiskit_runtime.models import JobInfo, ProgramInfo, SessionInfo, Wire

_PAGE_SIZE = 200
_STALE_PAGES = 2  # pages with nothing new that are passed over while the list changes

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item", bound=Wire)
Listed = TypeVar("Listed", ProgramInfo, JobInfo, SessionInfo)


@dataclass(frozen=True)
class Page(Generic[Listed]):
    """The requested part of a listing.

    Attributes:
        field: The field of the answer that contains the items.
        model: The type of the items.
        limit: The maximum number of items; None for all.
        offset: The number of items to skip at the beginning.
    """

    field: str
    model: type[Listed]
    limit: int | None
    offset: int


async def read_page(
    transport: Transport, call: Call, query: Query, wanted: Page[Listed]
) -> tuple[list[Listed], int | None]:
    """Request one page; return it, and the number of items on all pages, if the answer has it."""
    page_query = {**query, "limit": wanted.limit, "offset": wanted.offset}
    body = read_json(call, await transport.request(call, query=page_query))
    return read_items(call, body, wanted.field, wanted.model), _count(body)


def read_items(call: Call, body: dict[str, Any], field: str, model: type[Item]) -> list[Item]:
    """Parse the items of an answer that is a list in a field.

    Raises:
        ProtocolError: The field is not a list, or an item lacks an essential field, which is named.
    """
    items: list[Item] = []
    for index, row in enumerate(_rows(call, body, field)):
        try:
            items.append(model.from_listing(row))
        except ValidationError as exc:
            raise malformed(call, exc, at=f"{field}.{index}") from exc
    return items


def _rows(call: Call, body: dict[str, Any], field: str) -> list[Any]:
    rows = body.get(field)
    if not isinstance(rows, list):
        found = "missing" if rows is None else f"{type(rows).__name__}, not a list"
        raise malformed(call, f"{field}: {found}")
    return rows


def _count(body: dict[str, Any]) -> int | None:
    """Return the number of items on all pages, if the answer has it."""
    count = body.get("count")
    return count if isinstance(count, int) and not isinstance(count, bool) else None


async def read_pages(
    transport: Transport, call: Call, query: Query, wanted: Page[Listed]
) -> list[Listed]:
    """Request page after page until `limit` or the end.

    The list may change meanwhile: an item that moved to the next page is returned once. Without a
    number of all items, or with one that is too low, the end is the first page with nothing new.
    """
    found: dict[str, Listed] = {}
    offset, limit, stale = wanted.offset, wanted.limit, 0
    while limit is None or len(found) < limit:
        size = _PAGE_SIZE if limit is None else min(_PAGE_SIZE, limit - len(found))
        at = Page(wanted.field, wanted.model, size, offset)
        page, total = await read_page(transport, call, query, at)
        known = len(found)
        found.update((item.id, item) for item in page)
        offset += len(page)
        stale = 0 if len(found) > known else stale + 1
        is_counted = total is not None and offset <= total
        if not page or offset == total or stale > (_STALE_PAGES if is_counted else 0):
            break
    return list(found.values())


def segment(kind: str, identifier: str) -> str:
    """Return an id as a segment of a path.

    Raises:
        ConfigurationError: It is empty or not text, often because an object was passed.
    """
    if not (isinstance(identifier, str) and identifier):
        raise ConfigurationError(
            f"A {kind} is identified by its id, a text; not {identifier!r:.80}."
        )
    return quote(identifier, safe="")


def program_call(
    method: str, program_id: str, doing: str, path: str = "", *, repeatable: bool = False
) -> Call:
    """Return a call about a program."""
    return Call(
        method,
        f"/programs/{segment('program', program_id)}{path}",
        f"{doing} program {program_id}",
        kind="program",
        identifier=program_id,
        repeatable=repeatable,
    )


def job_call(
    method: str, job_id: str, doing: str, path: str = "", *, repeatable: bool = False
) -> Call:
    """Return a call about a job."""
    return Call(
        method,
        f"/jobs/{segment('job', job_id)}{path}",
        f"{doing} job {job_id}",
        kind="job",
        identifier=job_id,
        repeatable=repeatable,
    )


def read_model(call: Call, response: httpx.Response, model: type[Model]) -> Model:
    """Parse an answer that is one object."""
    try:
        answer = model.model_validate_json(response.content)
    except ValidationError as exc:
        raise malformed(call, exc, response.url) from exc
    known_services.record_answer(response.url, is_json=True)
    return answer


def read_json(call: Call, response: httpx.Response) -> dict[str, Any]:
    """Parse an answer that is a JSON object without a model."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError) as exc:
        raise malformed(call, exc, response.url) from exc
    known_services.record_answer(response.url, is_json=True)
    if not isinstance(body, dict):
        raise ProtocolError(f"Cannot {call.doing}: the answer is not a JSON object.")
    return body


def utc_text(moment: datetime | None) -> str | None:
    """Return a time (aware, or local) in the format of the protocol."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
