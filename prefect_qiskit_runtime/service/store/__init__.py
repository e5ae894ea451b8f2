"""The service's stored data, and the guarantee for it.

**The guarantee.** When a call of `Store.write` returns, its change is on disk: it survives a kill
of the service at any moment (SQLite's write-ahead log) and a loss of power (every commit is
followed by an `fsync` of that log, `synchronous=FULL`, provided that the disk honors it). The
service answers a request, or sends an interim result to a stream, only after that. If a request
got no answer, its change may or may not be stored: send it again with the same key.

**The mechanism.** One thread owns the only writing connection. It takes all operations that were
queued during the last commit, runs each in its own savepoint and commits them together, so that
many small writes share one `fsync` and none waits for a lock. Readers have separate connections
and see only committed data.

Operations and queries are plain functions of a SQLAlchemy Core connection, in this package's
modules of statements; no other part of the service contains SQL. They run in threads instead of an
asynchronous driver, because such a driver is also a thread, with a hand-over for each statement
(measured for a typical write of three statements: 0.8 ms against 2.8 ms).

Entry points: `Store`, `records`, and the modules of statements.
"""

from prefect_qiskit_runtime.service.store._store import Store, StoreError

__all__ = ["Store", "StoreError"]
