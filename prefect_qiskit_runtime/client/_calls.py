"""Calls on programs and jobs, and how their answers are read: single objects and pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from prefect_qiskit_runtime.client._answers import Call, malformed
from prefect_qiskit_runtime.client._transport import Query, Transport
from prefect_qiskit_runtime.errors import ConfigurationError, ProtocolError
from prefect_qiskit_runtime.models import JobInfo, ProgramInfo, SessionInfo

_PAGE_SIZE = 200

Model = TypeVar("Model", bound=BaseModel)
Listed = TypeVar("Listed", ProgramInfo, JobInfo, SessionInfo)


@dataclass(frozen=True)
class Page(Generic[Listed]):
    """What is wanted of a listing.

    Attributes:
        field: Where the answer has its items.
        model: What they are.
        limit: How many at most; None for all.
        offset: How many to leave out at the beginning.
    """

    field: str
    model: type[Listed]
    limit: int | None
    offset: int


async def read_page(
    transport: Transport, call: Call, query: Query, wanted: Page[Listed]
) -> tuple[list[Listed], int]:
    """Ask for one page; return it, and how many items there are on all of them."""
    page_query = {**query, "limit": wanted.limit, "offset": wanted.offset}
    body = read_json(call, await transport.request(call, query=page_query))
    try:
        page = [wanted.model.model_validate(row) for row in body[wanted.field]]
        return page, int(body.get("count", 0))
    except (KeyError, TypeError, ValueError) as exc:
        raise malformed(call, exc) from exc


async def read_pages(
    transport: Transport, call: Call, query: Query, wanted: Page[Listed]
) -> list[Listed]:
    """Ask page after page until `limit` or the end.

    Items may come or go meanwhile: one that moved to the next page is given once.
    """
    found: dict[str, Listed] = {}
    offset, limit = wanted.offset, wanted.limit
    while limit is None or len(found) < limit:
        size = _PAGE_SIZE if limit is None else min(_PAGE_SIZE, limit - len(found))
        at = Page(wanted.field, wanted.model, size, offset)
        page, total = await read_page(transport, call, query, at)
        found.update((item.id, item) for item in page)
        offset += len(page)
        if not page or offset >= total:
            break
    return list(found.values())


def segment(kind: str, identifier: str) -> str:
    """Return an id as a part of a path.

    Raises:
        ConfigurationError: It is no text, or empty: often the object in place of its id.
    """
    if not (isinstance(identifier, str) and identifier):
        raise ConfigurationError(f"A {kind} is named by its id, a text; not {identifier!r:.80}.")
    return quote(identifier, safe="")


def program_call(
    method: str, program_id: str, doing: str, path: str = "", *, repeatable: bool = False
) -> Call:
    """Make a call on a program."""
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
    """Make a call on a job."""
    return Call(
        method,
        f"/jobs/{segment('job', job_id)}{path}",
        f"{doing} job {job_id}",
        kind="job",
        identifier=job_id,
        repeatable=repeatable,
    )


def read_model(call: Call, response: httpx.Response, model: type[Model]) -> Model:
    """Read an answer that is one object."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError as exc:
        raise malformed(call, exc) from exc


def read_json(call: Call, response: httpx.Response) -> dict[str, Any]:
    """Read an answer that is a JSON object of a form that is not ours."""
    try:
        body = json.loads(response.content)
    except ValueError as exc:
        raise malformed(call, exc) from exc
    if not isinstance(body, dict):
        raise ProtocolError(f"Cannot {call.doing}: the answer is no JSON object.")
    return body


def utc_text(moment: datetime | None) -> str | None:
    """Write a time (aware, or local) as the protocol does."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
