"""The web application: the routes around one running service."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI
from starlette.types import ASGIApp

from prefect_qiskit_runtime.service import problem
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.gate import Gate
from prefect_qiskit_runtime.service.routes import (
    backends,
    instances,
    jobs,
    logins,
    programs,
    service,
    sessions,
    stream,
)


def create_app(context: ServiceContext, *, hosts: Collection[str] | None = None) -> ASGIApp:
    """Return the application.

    Args:
        context: The service that it shows. Its parts are started and closed elsewhere.
        hosts: Values of the `Host` header to answer to; None for any.
    """
    app = FastAPI(title="Qiskit Runtime service", openapi_url=None, redirect_slashes=False)
    app.state.context = context
    problem.install(app)
    # Before the jobs' own routes: a path with a further part must not be taken for an id.
    for module in (stream, programs, jobs, sessions, backends, instances, logins, service):
        app.include_router(module.router)
    app.include_router(jobs.links)
    if context.request_end is not None:
        app.include_router(service.embedded_router)
    return Gate(app, hosts=hosts)
