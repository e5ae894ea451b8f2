"""The parts of fault mode, assembled around one service."""

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
from prefect_qiskit_runtime.service.faults.ibm import IbmErrors, IbmLayer
from prefect_qiskit_runtime.service.faults.jobs import JobFaults
from prefect_qiskit_runtime.service.faults.journal import Journal
from prefect_qiskit_runtime.service.faults.layer import FaultLayer
from prefect_qiskit_runtime.service.faults.scenarios import Recalibration, SubmissionLimit
from prefect_qiskit_runtime.service.http.app import create_app

Imitated = Literal["ibm"]


class FaultMode:
    """Create it before the service, pass it `jobs` and `clock`, and serve the app from `app`.

    Args:
        imitate: The service to imitate; None for our own.
    """

    def __init__(self, *, imitate: Imitated | None = None) -> None:
        self.clock = Clock()
        self.book = FaultBook()
        self.journal = Journal(self.clock)
        self.jobs = JobFaults(self.book, self.clock)
        self._imitate = imitate
        self._connections = Connections()
        if imitate == "ibm":
            # IBM's limit. In the book, so that tests of something else can remove it.
            self.book.add(SubmissionLimit(fault="submission_limit"))

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """The HTTP protocol for the server, which lets connections be broken."""
        return self._connections.protocol()

    def app(self, context: ServiceContext) -> ASGIApp:
        """Return the application of a service, wrapped in the fault layers."""
        self.jobs.attach(context.scheduler)
        context.devices.calibrations = self._calibrations
        app = create_app(context, more=[control.router_of(self.book, self.journal, self.clock)])
        if self._imitate == "ibm":
            app = IbmLayer(app, context.authenticator)
        layer = FaultLayer(
            app,
            book=self.book,
            journal=self.journal,
            account=AccountFaults(self.book, context.store, self.clock),
            authenticator=context.authenticator,
            connections=self._connections,
            clock=self.clock,
        )
        return IbmErrors(layer) if self._imitate == "ibm" else layer

    def _calibrations(self, name: str) -> Iterator[Calibration]:
        for _, scenario in self.book.entries_of(Recalibration):
            if scenario.backend == name:
                qubits = None if scenario.qubits is None else frozenset(scenario.qubits)
                yield Calibration(scenario.id, scenario.error_factor, qubits, scenario.newest)
