"""The only writing thread: it commits all operations queued since its last commit together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LARGEST_GROUP = 256


class _Operation(NamedTuple):
    run: Callable[[Connection], Any]
    future: Future[Any]


class _Outcome(NamedTuple):
    future: Future[Any]
    value: Any
    error: Exception | None

    def announce(self) -> None:
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class GroupCommitWriter:
    """Runs operations in order of submission, many per commit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Operation | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[Connection], T]) -> Future[T]:
        """Queue an operation; its future is done once it is on disk or has been rolled back."""
        future: Future[T] = Future()
        self._queue.put(_Operation(operation, future))
        return future

    def close(self) -> None:
        """Run queued operations, then end the thread and close the connection."""
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _work(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                self._commit(group)

    def _next_group(self) -> tuple[list[_Operation], bool]:
        """Wait for an operation and take all that are queued; also return whether to end then."""
        group: list[_Operation] = []
        operation = self._queue.get()
        while operation is not None:
            if operation.future.set_running_or_notify_cancel():
                group.append(operation)
            if len(group) == _LARGEST_GROUP:
                return group, False
            try:
                operation = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Operation]) -> None:
        try:
            with self._engine.begin() as connection:
                outcomes = [_apply(connection, operation) for operation in group]
        except Exception as exc:  # thread boundary: every waiting caller gets it
            logger.exception("A group of %d writes failed", len(group))
            outcomes = [_Outcome(operation.future, None, exc) for operation in group]
        for outcome in outcomes:
            outcome.announce()


def _apply(connection: Connection, operation: _Operation) -> _Outcome:
    """Run one operation so that its failure does not affect the rest of the group."""
    savepoint = connection.begin_nested()
    try:
        value = operation.run(connection)
    except Exception as exc:  # noqa: BLE001 - passed to the operation's caller
        try:
            savepoint.rollback()
        except OperationalError:
            # If the disk is full, SQLite rolls back the whole transaction, including the others.
            raise exc from None
        return _Outcome(operation.future, None, exc)
    savepoint.commit()
    return _Outcome(operation.future, value, None)
