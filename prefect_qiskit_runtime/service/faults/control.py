"""The control endpoints of the fault mode: scenarios, the clock, the journal.

Like all other endpoints, they need a user's token: a page in a browser can also send requests to
loopback.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.faults.book import FaultBook
from prefect_qiskit_runtime.service.faults.journal import Journal
from prefect_qiskit_runtime.service.faults.layer import CONTROL_PREFIX
from prefect_qiskit_runtime.service.faults.scenarios import (
    LONGEST_SECONDS,
    SCENARIO,
    Pattern,
    Seconds,
)
from prefect_qiskit_runtime.service.http.auth import Observer
from prefect_qiskit_runtime.service.http.openapi import answers, list_of, object_of, takes
from prefect_qiskit_runtime.service.problem import invalid_from
from prefect_qiskit_runtime.service.request_json import read_model, read_object

_INTEGER = {"type": "integer"}
_TEXT = {"type": "string"}
_ENTRY = object_of(id=_TEXT, seen=_INTEGER, used=_INTEGER, scenario={"type": "object"})
_CLOCK = object_of(now=_TEXT, moved_seconds={"type": "number"})
_RECORD = object_of(
    number=_INTEGER,
    at=_TEXT,
    user={"type": ["string", "null"]},
    method=_TEXT,
    path=_TEXT,
    query=_TEXT,
    headers={"type": "object", "additionalProperties": _TEXT},
    body_bytes=_INTEGER,
    body_sha256=_TEXT,
    status={"type": ["integer", "null"]},
    cut={"type": "boolean"},
    scenario_id={"type": ["string", "null"]},
)


class ClockMove(BaseModel):
    """Body of a request that moves the clock."""

    model_config = ConfigDict(extra="forbid")

    seconds: Seconds = Field(description="How far to move the clock forward.")


def router_of(book: FaultBook, journal: Journal, clock: Clock) -> APIRouter:
    """Return the routes that control fault mode."""
    router = APIRouter(prefix=CONTROL_PREFIX, tags=["fault mode"])
    _add_scenarios(router, book)
    _add_clock(router, clock)
    _add_journal(router, journal)
    return router


def _add_scenarios(router: APIRouter, book: FaultBook) -> None:
    @router.post(
        "/scenarios",
        status_code=201,
        openapi_extra=takes(_scenario_schema()),
        responses=answers(_ENTRY, status=201),
    )
    async def add_scenario(request: Request, _: Observer) -> JSONResponse:
        """Activate a scenario."""
        body = await read_object(request)
        try:
            scenario = SCENARIO.validate_python(body.fields)
        except ValidationError as exc:
            raise invalid_from(exc, "scenario") from exc
        return JSONResponse(book.add(scenario).view(), status_code=201)

    @router.get("/scenarios", responses=answers(object_of(scenarios=list_of(_ENTRY))))
    async def list_scenarios(_: Observer) -> dict[str, Any]:
        """List the active scenarios, with how often each has matched and acted."""
        return {"scenarios": [entry.view() for entry in book]}

    @router.get("/scenarios/{scenario_id}", responses=answers(_ENTRY))
    async def get_scenario(scenario_id: str, _: Observer) -> dict[str, Any]:
        """Return a scenario."""
        entry = book.find(scenario_id)
        if entry is None:
            raise _unknown(scenario_id)
        return entry.view()

    @router.delete("/scenarios/{scenario_id}", status_code=204, responses=answers(status=204))
    async def remove_scenario(scenario_id: str, _: Observer) -> Response:
        """Remove a scenario; everything that it holds continues."""
        if not book.remove(scenario_id):
            raise _unknown(scenario_id)
        return Response(status_code=204)

    @router.delete("/scenarios", status_code=204, responses=answers(status=204))
    async def remove_all_scenarios(_: Observer) -> Response:
        """Remove all scenarios, including those of an imitated service."""
        book.clear()
        return Response(status_code=204)


def _add_clock(router: APIRouter, clock: Clock) -> None:
    def view() -> dict[str, Any]:
        now = clock.now().isoformat().replace("+00:00", "Z")
        return {"now": now, "moved_seconds": clock.moved_seconds}

    @router.get("/clock", responses=answers(_CLOCK))
    async def get_clock(_: Observer) -> dict[str, Any]:
        """Return the time of the service."""
        return view()

    @router.post("/clock/advance", openapi_extra=takes(ClockMove), responses=answers(_CLOCK))
    async def advance_clock(request: Request, _: Observer) -> dict[str, Any]:
        """Move the time forward; everything due by then happens at once, in order."""
        move = await read_model(request, ClockMove, "move of the clock")
        if clock.moved_seconds + move.seconds > LONGEST_SECONDS:
            raise InvalidInputError(
                f"The clock can be moved by at most {LONGEST_SECONDS:.0f} s in total.",
                path="$.seconds",
            )
        clock.advance(move.seconds)
        return view()


def _add_journal(router: APIRouter, journal: Journal) -> None:
    @router.get("/journal", responses=answers(object_of(requests=list_of(_RECORD))))
    async def read_journal(
        _: Observer,
        method: str | None = None,
        path: Annotated[Pattern | None, Query()] = None,
        user: str | None = None,
    ) -> dict[str, Any]:
        """Return the received requests in order, without tokens and bodies."""
        found = journal.find(method=method, path=path, user=user)
        return {"requests": [record.view() for record in found]}

    @router.delete("/journal", status_code=204, responses=answers(status=204))
    async def clear_journal(_: Observer) -> Response:
        """Delete the requests recorded so far."""
        journal.clear()
        return Response(status_code=204)


def _scenario_schema() -> dict[str, Any]:
    """Return the schema of a scenario with all references inlined; it has no cycles."""
    schema = SCENARIO.json_schema()
    definitions = schema.pop("$defs")
    schema.pop("discriminator", None)

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            rest = {name: value for name, value in part.items() if name != "$ref"}
            return inlined({**definitions[part["$ref"].rpartition("/")[2]], **rest})
        return {name: inlined(item) for name, item in part.items()}

    return inlined(schema)


def _unknown(scenario_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no active scenario {scenario_id!r}.", kind="scenario", identifier=scenario_id
    )
