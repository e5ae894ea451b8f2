"""Fault mode: a service that fails on request, for testing code that uses it.

Loaded only by `serve --fault-mode`, on loopback. It wraps the service from outside: requests pass
`layer` before they reach the app, jobs pass `jobs` in the scheduler, and the routes of `control`
are added to the app. A service started without fault mode has none of the three.

It never changes stored data, except through a scenario's effect on a job.

Entry points: `FaultMode`, and the documents of `scenarios`.
"""

from prefect_qiskit_runtime.service.faults.mode import FaultMode

__all__ = ["FaultMode"]
