"""Statements about programs and their versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from prefect_qiskit_runtime.service.store.records import (
    PRIMITIVES_OWNER,
    Owner,
    Program,
    ProgramContent,
)
from prefect_qiskit_runtime.service.store.tables import jobs, program_versions, programs


def insert_program(connection: Connection, program: Program) -> None:
    """Add a program with its first version."""
    connection.execute(
        insert(programs).values(
            id=program.id,
            owner=program.owner.user,
            instance=program.owner.instance,
            name=program.name,
            is_public=program.is_public,
            current_version=program.version,
            created_at=program.created_at,
            updated_at=program.updated_at,
        )
    )
    _insert_version(connection, program.id, program.version, program.content, program.updated_at)


def add_version(
    connection: Connection, program: Program, content: ProgramContent, now: datetime
) -> int:
    """Add a version to a program and make it the current one; return its number."""
    version = program.version + 1
    _insert_version(connection, program.id, version, content, now)
    connection.execute(
        update(programs)
        .where(programs.c.id == program.id, programs.c.current_version == program.version)
        .values(current_version=version, updated_at=now)
    )
    return version


def find_program(connection: Connection, program_id: str, viewer: Owner) -> Program | None:
    """Return a program that the viewer may use: their own, or a public one."""
    statement = _current().where(programs.c.id == program_id, _visible_to(viewer))
    row = connection.execute(statement).one_or_none()
    return None if row is None else _program(row)


def find_newest_named(connection: Connection, name: str, owner: Owner) -> Program | None:
    """Return the owner's newest program with a name."""
    statement = (
        _current()
        .where(_owned_by(owner), programs.c.name == name)
        .order_by(programs.c.number.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else _program(row)


def find_version(
    connection: Connection, program_id: str, version: int, owner: Owner
) -> ProgramContent | None:
    """Return any version of the owner's program, even of a deleted one that jobs refer to."""
    statement = (
        select(program_versions)
        .join(programs, programs.c.id == program_versions.c.program_id)
        .where(
            program_versions.c.program_id == program_id,
            program_versions.c.version == version,
            programs.c.owner == owner.user,
            programs.c.instance == owner.instance,
        )
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else _content(row)


def page_programs(
    connection: Connection, viewer: Owner, *, limit: int, offset: int, name: str | None
) -> tuple[list[Program], int]:
    """Return a page of the viewer's and public programs, newest first, and their total number.

    The primitives are not included.
    """
    visible: list[ColumnElement[bool]] = [_visible_to(viewer), ~_owned_by(PRIMITIVES_OWNER)]
    if name is not None:
        visible.append(programs.c.name == name)
    count = connection.execute(
        select(func.count()).select_from(programs).where(*visible)
    ).scalar_one()
    rows = connection.execute(
        _current().where(*visible).order_by(programs.c.number.desc()).limit(limit).offset(offset)
    )
    return [_program(row) for row in rows], count


def rename_program(connection: Connection, program_id: str, name: str, now: datetime) -> None:
    """Rename a program; its versions stay unchanged."""
    connection.execute(
        update(programs).where(programs.c.id == program_id).values(name=name, updated_at=now)
    )


def set_visibility(connection: Connection, program_id: str, *, is_public: bool) -> None:
    """Make a program public or private."""
    connection.execute(
        update(programs).where(programs.c.id == program_id).values(is_public=is_public)
    )


def delete_program(connection: Connection, program_id: str, now: datetime) -> None:
    """Delete a program, or only hide it while jobs refer to it, so that their source stays."""
    referred = connection.execute(
        select(jobs.c.number).where(jobs.c.program_id == program_id).limit(1)
    ).one_or_none()
    if referred is not None:
        connection.execute(
            update(programs).where(programs.c.id == program_id).values(deleted_at=now)
        )
        return
    _purge_program(connection, program_id)


def purge_deleted_programs(connection: Connection) -> None:
    """Delete the hidden programs to which jobs no longer refer."""
    referred = select(jobs.c.number).where(jobs.c.program_id == programs.c.id).exists()
    hidden = select(programs.c.id).where(programs.c.deleted_at.is_not(None), ~referred)
    for program_id in connection.execute(hidden).scalars().all():
        _purge_program(connection, program_id)


def _purge_program(connection: Connection, program_id: str) -> None:
    connection.execute(delete(program_versions).where(program_versions.c.program_id == program_id))
    connection.execute(delete(programs).where(programs.c.id == program_id))


def _insert_version(
    connection: Connection, program_id: str, version: int, content: ProgramContent, now: datetime
) -> None:
    connection.execute(
        insert(program_versions).values(
            program_id=program_id,
            version=version,
            description=content.description,
            cost=content.cost,
            spec=content.spec,
            source=content.source,
            content_hash=content.content_hash,
            created_at=now,
        )
    )


def _owned_by(owner: Owner) -> ColumnElement[bool]:
    return and_(
        programs.c.owner == owner.user,
        programs.c.instance == owner.instance,
        programs.c.deleted_at.is_(None),
    )


def _visible_to(viewer: Owner) -> ColumnElement[bool]:
    return or_(
        _owned_by(viewer), and_(programs.c.is_public.is_(True), programs.c.deleted_at.is_(None))
    )


def _current() -> Select[Any]:
    """Select every program, joined with its current version."""
    return select(
        programs,
        program_versions.c.description,
        program_versions.c.cost,
        program_versions.c.spec,
        program_versions.c.source,
        program_versions.c.content_hash,
    ).join(
        program_versions,
        and_(
            program_versions.c.program_id == programs.c.id,
            program_versions.c.version == programs.c.current_version,
        ),
    )


def _program(row: Row[Any]) -> Program:
    return Program(
        id=row.id,
        owner=Owner(row.owner, row.instance),
        name=row.name,
        is_public=row.is_public,
        version=row.current_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        content=_content(row),
    )


def _content(row: Row[Any]) -> ProgramContent:
    return ProgramContent(
        description=row.description,
        cost=row.cost,
        spec=row.spec,
        source=row.source,
        content_hash=row.content_hash,
    )
