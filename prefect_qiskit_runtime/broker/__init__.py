"""The broker: a process beside one job of a service that uses IBM Quantum for its program.

What it does: holds the user's credentials for one job, opens one session with them, sends what
the program asks for, keeps a journal of it, and leaves nothing open when the job has ended, or
when the service has died.

What it never does: show the program a key or a token; write one down; submit anything before the
intent to is on disk; know Prefect, the database of the service or the values that it carries.

Its process is started by the service with `python -m prefect_qiskit_runtime.broker`, which is
all that the two share beside the written protocol (docs/reference/broker.md).
"""
