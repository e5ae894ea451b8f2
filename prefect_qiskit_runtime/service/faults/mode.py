"""The parts of the fault mode, put together around one service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal

from starlette.types import ASGIApp

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import Calibration
from prefect_qiskit_runtime.service.faults import control
from prefect_qiskit_runtime.service.faults.account import AccountFaults
from prefect_qiskit_runtime.service.faults.book import FaultBook
from prefect_qiskit_runtime.service.faults.connections import Connections
from prefect_qiskit_runtime.service.faults.ibm import IbmLayer
from prefect_qiskit_runtime.service.faults.jobs import JobFaults
from prefect_qiskit_runtime.service.faults.journal import Journal
from prefect_qiskit_runtime.service.faults.layer import FaultLayer
from prefect_qiskit_runtime.service.faults.scenarios import Recalibration, SubmissionLimit
from prefect_qiskit_runtime.service.http.app import create_app

Imitated = Literal["ibm"]


class FaultMode:
    """Make it before the service, give `jobs` and `clock` to it, and serve what `app` returns.

    Args:
        imitate: Whose service to behave like; None for our own.
    """

    def __init__(self, *, imitate: Imitated | None = None) -> None:
        self.clock = Clock()
        self.book = FaultBook()
        self.journal = Journal(self.clock)
        self.jobs = JobFaults(self.book, self.clock)
        self._imitate = imitate
        self._connections = Connections()
        if imitate == "ibm":
            # IBM's own limit. In the book, so that a test which does not care can remove it.
            self.book.add(SubmissionLimit(fault="submission_limit"))

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """The HTTP protocol for the server, through which connections can be broken."""
        return self._connections.protocol()

    def app(self, context: ServiceContext) -> ASGIApp:
        """Return the application of a service, with all that can go wrong around it."""
        self.jobs.attach(context.scheduler)
        context.devices.calibrations = self._calibrations
        app = create_app(context, more=[control.router_of(self.book, self.journal, self.clock)])
        if self._imitate == "ibm":
            app = IbmLayer(app, context.authenticator)
        return FaultLayer(
            app,
            book=self.book,
            journal=self.journal,
            account=AccountFaults(self.book, context.store, self.clock),
            authenticator=context.authenticator,
            connections=self._connections,
            clock=self.clock,
        )

    def _calibrations(self, name: str) -> Iterator[Calibration]:
        for _, told in self.book.of(Recalibration):
            if told.backend == name:
                qubits = None if told.qubits is None else frozenset(told.qubits)
                yield Calibration(told.id, told.error_factor, qubits, told.newest)
