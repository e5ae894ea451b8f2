"""The store: what an answered write promises, and that the writer shares commits fairly."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from prefect_qiskit_runtime.errors import ServiceUnavailableError
from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.store import Store, StoreError, jobs, queue, results, space
from prefect_qiskit_runtime.service.store.records import DeletedJob, Owner
from prefect_qiskit_runtime.service.store.tables import metadata


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(tmp_path / "runtime.db")
    await store.write(_execute, "CREATE TABLE t (x INTEGER PRIMARY KEY)")
    yield store
    await store.close()


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def _insert(connection: Connection, value: int) -> int:
    connection.execute(text(f"INSERT INTO t VALUES ({value})"))
    return value


def _values(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT x FROM t ORDER BY x")).scalars())


async def test_a_write_that_returned_is_seen_by_every_reader(store: Store) -> None:
    assert await store.write(_insert, 7) == 7
    assert await store.read(_values) == [7]


async def test_a_failing_operation_leaves_the_others_of_its_group_alone(store: Store) -> None:
    await store.write(_insert, 5)
    outcomes = await asyncio.gather(
        *(store.write(_insert, value) for value in range(10)), return_exceptions=True
    )
    assert [value for value in outcomes if isinstance(value, int)] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert [type(value) for value in outcomes if not isinstance(value, int)] == [IntegrityError]
    assert await store.read(_values) == list(range(10))


async def test_a_full_disk_is_reported_and_passes(store: Store) -> None:
    def fill(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        connection.execute(text("CREATE TABLE large AS SELECT randomblob(100000)"))

    await store.write(_execute, "PRAGMA max_page_count=1")  # as many as there are, at least
    with pytest.raises(ServiceUnavailableError, match="database: database or disk is full"):
        await store.write(fill)
    assert await store.read(_values) == []
    await store.write(_execute, "PRAGMA max_page_count=10000")
    await store.write(fill)
    assert await store.read(_values) == [1]


async def test_a_failing_operation_is_undone_as_a_whole(store: Store) -> None:
    def half(connection: Connection) -> None:
        _insert(connection, 1)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await store.write(half)
    assert await store.read(_values) == []


async def test_operations_run_in_the_order_of_their_submission(store: Store) -> None:
    order: list[int] = []

    def note(connection: Connection, value: int) -> None:
        order.append(value)

    await asyncio.gather(*(store.write(note, value) for value in range(1000)))
    assert order == list(range(1000))


async def test_many_writes_share_a_commit(store: Store, tmp_path: Path) -> None:
    def commits() -> int:
        # Every commit appends at least one page to the write-ahead log.
        return (tmp_path / "runtime.db-wal").stat().st_size // 4096

    before = commits()
    await asyncio.gather(*(store.write(_insert, value) for value in range(500)))
    assert commits() - before < 50


async def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match="readonly"):
        await store.read(_insert, 1)


async def test_what_is_queued_is_written_before_the_store_closes(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "other.db")
    await store.write(_execute, "CREATE TABLE t (x INTEGER PRIMARY KEY)")
    writes = [asyncio.ensure_future(store.write(_insert, value)) for value in range(100)]
    await asyncio.sleep(0)  # lets them be submitted
    await store.close()
    await asyncio.gather(*writes)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (100,)
    connection.close()
    assert not (tmp_path / "other.db-wal").exists()


async def test_the_settings_that_the_promise_rests_on(store: Store) -> None:
    def pragmas(connection: Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names}

    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    assert await store.write(pragmas) == expected


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runtime.db"
    await Store.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match="has schema 9999"):
        Store.open(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runtime.db").write_text("no database at all, but long enough to be looked at" * 50)
    with pytest.raises(StoreError, match="Cannot use the database"):
        Store.open(tmp_path / "runtime.db")


async def test_the_migrations_make_the_tables_that_the_statements_use(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    await Store.open(tmp_path / "runtime.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'runtime.db'}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        interim_key = inspect(connection).get_pk_constraint("interim_results")
    engine.dispose()
    assert differences == []
    assert interim_key["constrained_columns"] == ["job_id", "seq"]


OF_0004 = """
INSERT INTO programs VALUES
    (1, 'p', 'alice', '', 'counting', 0, 1, '2026-05-01 10:00:00', '2026-05-01 10:00:00', NULL);
INSERT INTO program_versions VALUES
    ('p', 1, 'counts', 60, '{"parameters": {}}', 'def main(): pass', 'hash', '2026-05-01 10:00:00');
INSERT INTO jobs (number, id, owner, instance, program_id, program_version, backend, image,
    log_level, max_execution_seconds, private, attempt, idempotency_key, request_hash, state,
    created_at, started_at, ended_at, usage_seconds, versions, hardware) VALUES
    (1, 'ended', 'alice', '', 'p', 1, 'aer_simulator', 'python:/usr/bin/python3', 'WARNING', 60, 0,
     1, 'key-1', 'request-1', 'Completed', '2026-05-01 10:00:00', '2026-05-01 10:00:01',
     '2026-05-01 10:00:02.5', 1.5, '{"qiskit": "2.1"}', NULL),
    (2, 'queued', 'bob', '', 'p', 1, 'ibm_device', 'python:/usr/bin/python3', 'WARNING', 60, 0,
     1, NULL, 'request-2', 'Queued', '2026-05-01 11:00:00', NULL, NULL, NULL, NULL,
     '{"key": "evaluation-number-1", "mode": "job"}');
INSERT INTO job_inputs VALUES ('ended', CAST('{"n": 1}' AS BLOB)), ('queued', CAST('{}' AS BLOB));
INSERT INTO job_results VALUES ('ended', '"done"');
INSERT INTO interim_results VALUES ('ended', 0, '"first"'), ('ended', 1, '"second"');
INSERT INTO job_tags VALUES ('ended', 0, 'tag');
"""


@pytest.mark.parametrize("revision", ["0004", "0005", "0006"])
async def test_a_filled_database_of_an_older_version_is_migrated(
    tmp_path: Path, revision: str
) -> None:
    path = tmp_path / "runtime.db"
    _create_filled(path, revision)
    store = Store.open(path)
    ended, queued = [await store.read(jobs.get_job, job_id) for job_id in ("ended", "queued")]
    assert ended is not None
    assert (ended.state, ended.tags, ended.interim_count) == (JobStatus.COMPLETED, ("tag",), 2)
    assert (ended.simulation, ended.simulation_methods, ended.limit) == (None, None, None)
    assert ended.versions == {"qiskit": "2.1"}
    assert await store.read(results.stored_result("ended").read) == b'"done"'
    assert queued is not None
    assert queued.hardware == {"key": "evaluation-number-1", "mode": "job"}
    # Columns that newer versions added work with the old rows.
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert not await store.write(space.note_time, now)  # 31 days after the newest job
    sizes = await store.read(space.space_by_user, {})
    assert {user: size.ended > 0 for user, size in sizes.items()} == {"alice": True, "bob": False}
    assert await store.read(jobs.oldest_ended, limit=9, before=now) == ["ended"]
    assert await store.write(jobs.delete_ended_job, "ended", now)
    deleted = await store.read(jobs.find_deleted, Owner("alice", ""), key="key-1")
    assert deleted == DeletedJob("ended", "request-1", now)
    assert await store.read(jobs.get_job, "ended") is None
    assert await store.write(queue.claim_next, now, slots=1, running=[]) is not None
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    await Store.open(path).close()  # nothing is left to migrate


def _create_filled(path: Path, revision: str) -> None:
    """Create a database as the version of the package with that revision left it."""
    from alembic import command
    from alembic.config import Config

    from prefect_qiskit_runtime.service.store import _migrate

    config = Config()
    config.set_main_option("script_location", str(_migrate._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(OF_0004)


async def test_the_stated_newest_migration_is_the_newest() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from prefect_qiskit_runtime.service.store import _migrate, _store

    config = Config()
    config.set_main_option("script_location", str(_migrate._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == _store.HEAD_REVISION
