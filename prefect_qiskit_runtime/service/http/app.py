"""The web application: the routes around one running service."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from prefect_qiskit_runtime.service import problem
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.http import auth, openapi
from prefect_qiskit_runtime.service.http.gate import Gate
from prefect_qiskit_runtime.service.http.routes import (
    backends,
    instances,
    jobs,
    logins,
    programs,
    service,
    sessions,
    stream,
)


def create_app(
    context: ServiceContext,
    *,
    hosts: Collection[str] | None = None,
    more: Sequence[APIRouter] = (),
) -> ASGIApp:
    """Return the application.

    Args:
        context: The service. Its parts are started and closed elsewhere.
        hosts: Accepted values of the `Host` header; None for any.
        more: Further routes.
    """
    # FastAPI's documentation pages are not served: they load scripts from other hosts.
    app = FastAPI(
        title="Qiskit Runtime service", redirect_slashes=False, docs_url=None, redoc_url=None
    )
    app.state.context = context
    problem.install(app)
    openapi.install(app)
    # `stream` before `jobs`: a path with a further segment must not be read as an id.
    for module in (stream, programs, jobs, sessions, backends, instances, logins, service):
        app.include_router(module.router)
    app.include_router(jobs.links)
    if context.request_end is not None:
        app.include_router(service.embedded_router)
    for router in more:
        app.include_router(router)
    user_of = partial(auth.user_of, context.authenticator)
    return Gate(app, hosts=hosts, user_of=user_of, settings=context.settings)
