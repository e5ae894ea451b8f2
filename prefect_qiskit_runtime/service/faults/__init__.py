"""The fault mode: a service that fails on request, for tests of what its users build on it.

Loaded only by `serve --fault-mode`, on loopback. It wraps the service from outside: requests pass
`layer` before they reach the app, jobs pass `jobs` in the scheduler, and the routes of `control`
are added to the app. A service started without it has none of the three.

It never changes what the service keeps, other than by what a scenario says happens to a job.

Entry points: `FaultMode`, and the documents of `scenarios`.
"""

from prefect_qiskit_runtime.service.faults.mode import FaultMode

__all__ = ["FaultMode"]
