"""Rules for programs: uploads and changes. No source is executed or parsed here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
import string
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from pydantic import AliasChoices, BaseModel, Field
from sqlalchemy import Connection

from prefect_qiskit_runtime.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from prefect_qiskit_runtime.models import IfExists, ProgramMetadata, ProgramSpec, ProgramUploaded
from prefect_qiskit_runtime.service.inputs import check_requirements_known
from prefect_qiskit_runtime.service.problem import PayloadTooLargeError
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER
from prefect_qiskit_runtime.service.store import programs as statements
from prefect_qiskit_runtime.service.store.records import (
    SERVICE_OWNERS,
    Owner,
    Program,
    ProgramContent,
)

_ID_CHARACTERS = string.ascii_lowercase + string.digits
_LONGEST_SLUG = 60
# Programs of IBM that only quantum devices can run, with the way out.
_NOT_OFFERED = {
    "noise-learner": " It measures the noise of the gates of a quantum device, and this service"
    " has simulators: the noise of a fake device is in its properties, and the noise of your own"
    " in the noise model that you pass. Run the noise learner on IBM Quantum.",
}


class ProgramUpload(ProgramMetadata):
    """Body of an upload.

    Attributes:
        data: The source as base64.
        if_exists: How to treat the owner's existing program with this name. IBM's clients do not
            send it; for them, the setting `duplicate_program_names` decides.
    """

    data: str
    # As IBM's clients send it: 0 leaves the limit to the service.
    max_execution_time: int | None = Field(
        default=None,
        ge=0,
        le=LARGEST_INTEGER,
        validation_alias=AliasChoices("max_execution_time", "cost"),
    )
    if_exists: IfExists | None = None


class ProgramChange(BaseModel):
    """Body of a change of a program's metadata; absent fields stay unchanged."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = None
    cost: int | None = Field(
        default=None,
        ge=0,
        le=LARGEST_INTEGER,
        validation_alias=AliasChoices("cost", "max_execution_time"),
    )
    spec: ProgramSpec | None = None


def decode_source(data: str, *, largest: int) -> str:
    """Return the source of an upload, without the byte order mark that some editors add.

    Raises:
        InvalidInputError: The data is not base64 of UTF-8 text.
        PayloadTooLargeError: The source has more bytes than `largest`.
    """
    try:
        source = base64.b64decode("".join(data.split()), validate=True)
        if len(source) > largest:
            raise PayloadTooLargeError(
                f"The program's source has {len(source)} bytes, and this service accepts at most"
                f" {largest}. Pass data as inputs of the job instead.",
                path="$.data",
                rule=f"at most {largest} bytes",
            )
        return source.decode("utf-8-sig")
    except (binascii.Error, ValueError) as exc:
        message = "The program's source must be base64 of UTF-8 text."
        raise InvalidInputError(message, path="$.data", rule="base64") from exc


def make_content(
    *, source: str, description: str, cost: int | None, spec: ProgramSpec
) -> ProgramContent:
    """Return a source and its metadata, both checked by the `Checker`, as the content of a version.

    Raises:
        InvalidInputError: A backend requirement has a value of the wrong type.
    """
    if spec.backend_requirements:
        check_requirements_known(spec.backend_requirements, "$.spec.backend_requirements")
    body: dict[str, Any] = {
        "source": source,
        "description": description,
        "cost": cost or 0,
        "spec": spec.model_dump(exclude_none=True),
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return ProgramContent(**body, content_hash=hashlib.sha256(canonical.encode()).hexdigest())


def upload(
    connection: Connection,
    *,
    owner: Owner,
    request: ProgramUpload,
    content: ProgramContent,
    unique_names: bool = False,
) -> ProgramUploaded:
    """Store an upload: as a new program, as a new version, or not at all if unchanged.

    Args:
        connection: A transaction.
        owner: The program's owner.
        request: The upload.
        content: Its checked content.
        unique_names: Whether an owner may have only one program of each name.

    Raises:
        ConflictError: The owner already has a program with this name, and `if_exists` or the
            service forbids another one.
    """
    now = datetime.now(UTC)
    if_exists = request.if_exists or "new"
    existing = (
        None
        if if_exists == "new" and not unique_names
        else statements.find_newest_named(connection, request.name, owner)
    )
    if existing is None:
        program_id = _new_id(request.name)
        program = Program(
            id=program_id,
            owner=owner,
            name=request.name,
            is_public=bool(request.is_public),
            version=1,
            created_at=now,
            updated_at=now,
            content=content,
        )
        statements.insert_program(connection, program)
        return ProgramUploaded(id=program_id, version=1, outcome="created")
    if if_exists != "update":
        raise _name_taken(existing, may_repeat=not unique_names)
    if request.is_public is not None and request.is_public != existing.is_public:
        statements.set_visibility(connection, existing.id, is_public=request.is_public)
    if existing.content.content_hash == content.content_hash:
        return ProgramUploaded(id=existing.id, version=existing.version, outcome="unchanged")
    version = statements.add_version(connection, existing, content, now)
    return ProgramUploaded(id=existing.id, version=version, outcome="updated")


def install_program(
    connection: Connection, owner: Owner, name: str, content: ProgramContent
) -> None:
    """Install a program of the service, with its name as its id.

    An unchanged program stays as it is; new content becomes a new version, so that a job pins the
    version it ran.
    """
    now = datetime.now(UTC)
    installed = statements.find_program(connection, name, owner)
    if installed is None:
        program = Program(
            id=name,
            owner=owner,
            name=name,
            is_public=True,
            version=1,
            created_at=now,
            updated_at=now,
            content=content,
        )
        statements.insert_program(connection, program)
    else:
        _add_if_new(connection, installed, content)


def change_metadata(
    connection: Connection,
    program_id: str,
    owner: Owner,
    change: ProgramChange,
    *,
    unique_names: bool = False,
) -> None:
    """Change a program's metadata; every change except of the name makes a new version.

    Raises:
        ConflictError: Names are unique and another program of the owner has the new name.
    """
    program = find_owned(connection, program_id, owner)
    if change.name is not None and change.name != program.name:
        other = statements.find_newest_named(connection, change.name, owner)
        if unique_names and other is not None:
            raise _name_taken(other, may_repeat=False)
        statements.rename_program(connection, program_id, change.name, datetime.now(UTC))
    now = program.content
    content = make_content(
        source=now.source,
        description=now.description if change.description is None else change.description,
        cost=now.cost if change.cost is None else change.cost,
        spec=ProgramSpec.model_validate(now.spec) if change.spec is None else change.spec,
    )
    _add_if_new(connection, program, content)


def change_source(connection: Connection, program_id: str, owner: Owner, source: str) -> None:
    """Replace a program's source, as a new version."""
    program = find_owned(connection, program_id, owner)
    content = make_content(
        source=source,
        description=program.content.description,
        cost=program.content.cost,
        spec=ProgramSpec.model_validate(program.content.spec),
    )
    _add_if_new(connection, program, content)


def delete(connection: Connection, program_id: str, owner: Owner) -> None:
    """Delete a program of the owner."""
    find_owned(connection, program_id, owner)
    statements.delete_program(connection, program_id, datetime.now(UTC))


def set_visibility(
    connection: Connection, program_id: str, owner: Owner, *, is_public: bool
) -> None:
    """Make a program of the owner public or private."""
    find_owned(connection, program_id, owner)
    statements.set_visibility(connection, program_id, is_public=is_public)


def find_visible(connection: Connection, program_id: str, viewer: Owner) -> Program:
    """Return a program that the viewer may use.

    Raises:
        NotFoundError: There is no such program, or it is another user's private program.
    """
    program = statements.find_program(connection, program_id, viewer)
    if program is None:
        raise NotFoundError(
            f"There is no program {program_id!r}."
            f"{_NOT_OFFERED.get(program_id) or _hint(connection, program_id, viewer)}",
            kind="program",
            identifier=program_id,
        )
    return program


def _name_taken(existing: Program, *, may_repeat: bool) -> ConflictError:
    ways = "'update' or 'new'" if may_repeat else "'update'"
    return ConflictError(
        f"A program named {existing.name!r} already exists: {existing.id}. Choose"
        f" another name, or upload with if_exists {ways}."
    )


def _hint(connection: Connection, asked: str, viewer: Owner) -> str:
    """Return a hint: programs are requested by their id, not by their name or file."""
    name = PurePath(asked).stem if asked.endswith(".py") else asked
    named = statements.find_newest_named(connection, name, viewer)
    if named is not None:
        return f" {named.id!r} is the id of your program named {name!r}."
    return " Use the id that the upload of the program returned."


def find_owned(connection: Connection, program_id: str, owner: Owner) -> Program:
    """Return a program that the owner may change.

    Raises:
        NotFoundError: The owner sees no such program.
        AccessDeniedError: The program is another user's public program, or part of the service.
    """
    program = find_visible(connection, program_id, owner)
    if program.owner in SERVICE_OWNERS:
        raise AccessDeniedError(f"{program_id} is part of the service and cannot be changed.")
    if program.owner != owner:
        raise AccessDeniedError(f"Program {program_id} belongs to another user.")
    return program


def _add_if_new(connection: Connection, program: Program, content: ProgramContent) -> None:
    if content.content_hash != program.content.content_hash:
        statements.add_version(connection, program, content, datetime.now(UTC))


def _new_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_SLUG] or "program"
    return f"{slug}-{''.join(secrets.choice(_ID_CHARACTERS) for _ in range(8))}"
