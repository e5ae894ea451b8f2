"""The store's interface to the rest of the service: open, read, write, close."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from prefect_qiskit_runtime.errors import ConfigurationError, ServiceUnavailableError
from prefect_qiskit_runtime.service.store._writer import GroupCommitWriter

P = ParamSpec("P")
T = TypeVar("T")

HEAD_REVISION = "0007"
"""The newest migration. Stated here so that an up-to-date database starts without Alembic."""

_READERS = 4
_BUSY_TIMEOUT_MILLISECONDS = 10_000
_VACUUM_PAGES = 1000


class StoreError(ConfigurationError):
    """The database cannot be used in its present state."""


class Store:
    """The service's database, for one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_engine = _engine(path, begin="BEGIN", pool_size=_READERS, query_only=True)
        write_engine = _engine(path, begin="BEGIN IMMEDIATE", pool_size=1, query_only=False)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._writer = GroupCommitWriter(write_engine)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a database, creating or migrating it if needed.

        Raises:
            StoreError: The file is not a usable database, or a newer version of the package
                wrote it.
        """
        _prepare(path)
        return cls(path)

    async def write(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation atomically and return once it is on disk.

        Cancelling the wait cancels the operation only if it has not started.

        Raises:
            ServiceUnavailableError: The database cannot be written now: the disk is full.
        """
        future = self._writer.submit(lambda connection: operation(connection, *args, **kwargs))
        try:
            return await asyncio.wrap_future(future)
        except OperationalError as exc:
            raise _unavailable(exc) from exc

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query on one consistent snapshot of the committed data.

        Raises:
            ServiceUnavailableError: The database cannot be read now.
        """

        def run() -> T:
            with self._read_engine.begin() as connection:
                return query(connection, *args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except OperationalError as exc:
            raise _unavailable(exc) from exc

    async def shrink(self) -> None:
        """Return the space of deleted rows to the file system."""
        await asyncio.to_thread(_vacuum, self._path)

    async def close(self) -> None:
        """Finish queued operations and close all connections."""
        await asyncio.to_thread(self._readers.shutdown)
        self._read_engine.dispose()
        # The writer is last, because the last connection merges the log into the database file,
        # which a query-only connection cannot do.
        await asyncio.to_thread(self._writer.close)


def _unavailable(error: OperationalError) -> ServiceUnavailableError:
    # SQLite's message without the statement: "database or disk is full".
    return ServiceUnavailableError(f"The service cannot use its database: {error.orig}.")


def _engine(path: Path, *, begin: str, pool_size: int, query_only: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        pool_size=pool_size,
        max_overflow=0,
        pool_reset_on_return=None,
        hide_parameters=True,  # errors are logged, but inputs and sources must not be
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # By default, the driver begins transactions itself, and only before writes:
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MILLISECONDS}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA query_only={int(query_only)}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _prepare(path: Path) -> None:
    """Migrate the database to the newest schema, unless it already has it."""
    connection = sqlite3.connect(path)
    try:
        # Both are properties of the file. The first lets the space of deleted jobs be returned,
        # and must be set before the first table is created.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        revision = _revision(connection)
    except sqlite3.DatabaseError as exc:
        raise StoreError(f"Cannot use the database {path}: {exc}.") from exc
    finally:
        connection.close()
    path.chmod(0o600)
    if revision == HEAD_REVISION:
        return
    if revision is not None and revision > HEAD_REVISION:
        raise StoreError(
            f"The database {path} has schema {revision}; this version of the package supports"
            f" schemas up to {HEAD_REVISION}. Use the newer version that wrote it."
        )
    from prefect_qiskit_runtime.service.store._migrate import upgrade

    engine = _engine(path, begin="BEGIN IMMEDIATE", pool_size=1, query_only=False)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def _vacuum(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MILLISECONDS}")
        while connection.execute("PRAGMA freelist_count").fetchone()[0]:
            # In steps, so that the writer can run in between. As a script, because the driver
            # stops a statement without columns after its first page.
            connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")


def _revision(connection: sqlite3.Connection) -> str | None:
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type='table' AND name='alembic_version'"
    ).fetchone()
    if known is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None
