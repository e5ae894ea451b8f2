"""What the service keeps, and what it promises of it.

**The promise.** When a call of `Store.write` returns, its change is on disk: it survives the
kill of the service at any moment (SQLite's write-ahead log) and the loss of power (every commit
is followed by an `fsync` of that log, `synchronous=FULL`, as far as the disk keeps its own
promise). The service answers a request, and shows an interim result to a stream, only after
that. What was not answered may or may not be there: ask again with the same key.

**How.** One thread owns the only writing connection. It takes all operations that queued up
while the last commit was under way, runs each in its own savepoint and commits them together,
so that many small writes share one `fsync` and none waits for a lock. Readers have connections
of their own and see committed data only.

Operations and queries are plain functions of a SQLAlchemy Core connection, in `programs`,
`jobs` and `results`: nothing else of the service contains SQL. They run in threads rather than
through an asynchronous driver because that driver is a thread as well, reached anew for each
statement (measured for a typical write of three statements: 0.8 ms against 2.8 ms).

Entry points: `Store`, `records`, and the modules of statements.
"""

from prefect_qiskit_runtime.service.store._store import Store, StoreError

__all__ = ["Store", "StoreError"]
