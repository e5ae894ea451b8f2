"""The broker: a process beside one job of a service that uses IBM Quantum for its program.

It holds the user's credentials for one job, opens one session with them, submits the program's
requests, keeps a journal of them, and leaves nothing open when the job has ended or the service
has died.

It never shows the program a key or a token, never writes one to disk, never submits anything
before the intent is on disk, and knows nothing of Prefect, of the service's database or of the
values that it passes on.

The service starts its process with `python -m prefect_qiskit_runtime.broker`; apart from this
command, the two share only the documented protocol (docs/reference/broker.md).
"""
