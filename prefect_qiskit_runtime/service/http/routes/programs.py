"""Endpoints of programs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError
from prefect_qiskit_runtime.models import ProgramInfo, ProgramUploaded
from prefect_qiskit_runtime.service import programs
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.openapi import TEXT, answers, list_of, object_of, takes
from prefect_qiskit_runtime.service.http.views import program_view
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER, read_model
from prefect_qiskit_runtime.service.store import programs as statements

router = APIRouter(prefix="/programs")


@router.post(
    "",
    openapi_extra=takes(programs.ProgramUpload),
    responses=answers(ProgramUploaded, 409, status=201, also=200),
)
async def upload_program(request: Request, context: Context, owner: Caller) -> Response:
    """Upload a program."""
    upload = await read_model(
        request, programs.ProgramUpload, "program", checker=context.checker, user=owner.user
    )
    source = await _decode(context, upload.data)
    await context.checker.check_program(owner.user, upload.spec, source)
    content = await asyncio.to_thread(
        programs.make_content,
        source=source,
        description=upload.description,
        cost=upload.max_execution_time,
        spec=upload.spec,
    )
    uploaded = await context.store.write(
        programs.upload,
        owner=owner,
        request=upload,
        content=content,
        unique_names=_unique_names(context),
    )
    status = 201 if uploaded.outcome == "created" else 200
    return JSONResponse(uploaded.model_dump(mode="json"), status_code=status)


@router.get(
    "", responses=answers(object_of(programs=list_of(ProgramInfo), count={"type": "integer"}))
)
async def list_programs(
    context: Context,
    viewer: Caller,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    offset: Annotated[int, Query(ge=0, le=LARGEST_INTEGER)] = 0,
    name: str | None = None,
) -> dict[str, Any]:
    """List the programs that the caller may use."""
    page, count = await context.store.read(
        statements.page_programs, viewer, limit=limit, offset=offset, name=name
    )
    return {"programs": [program_view(program, viewer) for program in page], "count": count}


@router.get("/{program_id}", responses=answers(ProgramInfo))
async def get_program(program_id: str, context: Context, viewer: Caller) -> dict[str, Any]:
    """Return a program; its owner also gets the source."""
    program = await context.store.read(programs.find_visible, program_id, viewer)
    return program_view(program, viewer, with_source=True)


@router.get(
    "/{program_id}/versions/{version}", responses=answers({"type": "string"}, media_type=TEXT)
)
async def get_version(
    program_id: str,
    version: Annotated[int, Path(ge=1, le=LARGEST_INTEGER)],
    context: Context,
    owner: Caller,
) -> PlainTextResponse:
    """Return the source of any version of a program, even of a deleted one that jobs ran."""
    content = await context.store.read(statements.find_version, program_id, version, owner)
    if content is None:
        raise NotFoundError(
            f"You have no version {version} of a program {program_id!r}.",
            kind="program",
            identifier=program_id,
        )
    return PlainTextResponse(content.source)


@router.put(
    "/{program_id}/data",
    status_code=204,
    openapi_extra=takes({"type": "string"}, media_type="application/octet-stream"),
    responses=answers(None, 403, status=204),
)
async def update_source(
    program_id: str, request: Request, context: Context, owner: Caller
) -> Response:
    """Replace a program's source."""
    try:
        data = (await request.body()).decode("ascii")
    except UnicodeDecodeError as exc:
        raise InvalidInputError("The source must be sent as base64.", rule="base64") from exc
    source = await _decode(context, data)
    await context.store.read(programs.find_owned, program_id, owner)
    await context.checker.check_program(owner.user, None, source)
    await context.store.write(programs.change_source, program_id, owner, source)
    return Response(status_code=204)


@router.patch(
    "/{program_id}",
    status_code=204,
    openapi_extra=takes(programs.ProgramChange),
    responses=answers(None, 403, 409, status=204),
)
async def update_metadata(
    program_id: str, request: Request, context: Context, owner: Caller
) -> Response:
    """Change a program's metadata."""
    change = await read_model(
        request,
        programs.ProgramChange,
        "change of a program",
        checker=context.checker,
        user=owner.user,
    )
    await context.store.read(programs.find_owned, program_id, owner)
    await context.checker.check_program(owner.user, change.spec, None)
    await context.store.write(
        programs.change_metadata, program_id, owner, change, unique_names=_unique_names(context)
    )
    return Response(status_code=204)


@router.put("/{program_id}/public", status_code=204, responses=answers(None, 403, status=204))
async def make_public(program_id: str, context: Context, owner: Caller) -> Response:
    """Let all users of the service run a program."""
    await context.store.write(programs.set_visibility, program_id, owner, is_public=True)
    return Response(status_code=204)


@router.put("/{program_id}/private", status_code=204, responses=answers(None, 403, status=204))
async def make_private(program_id: str, context: Context, owner: Caller) -> Response:
    """Let only the owner run a program."""
    await context.store.write(programs.set_visibility, program_id, owner, is_public=False)
    return Response(status_code=204)


@router.delete("/{program_id}", status_code=204, responses=answers(None, 403, 409, status=204))
async def delete_program(program_id: str, context: Context, owner: Caller) -> Response:
    """Delete a program; jobs that ran it keep their version."""
    await context.store.write(programs.delete, program_id, owner)
    return Response(status_code=204)


async def _decode(context: ServiceContext, data: str) -> str:
    largest = context.settings.source_bytes
    return await asyncio.to_thread(programs.decode_source, data, largest=largest)


def _unique_names(context: ServiceContext) -> bool:
    return context.settings.duplicate_program_names == "refuse"
