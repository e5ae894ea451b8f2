"""Error answers in the protocol's format: a status and `{"error": {"message", "code", ...}}`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    QiskitRuntimeError,
    RateLimitedError,
    ServiceUnavailableError,
)


class KeyReusedError(InvalidInputError):
    """An idempotency key was reused with another body. Answered with 422, as in IETF's draft."""


class DeletedJobError(NotFoundError):
    """A submission repeats the key of a deleted job. Answered with 410: no job is made.

    Attributes:
        job_id: The deleted job.
    """

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message, kind=DELETED_JOB, identifier=job_id)
        self.job_id = job_id


class ResultGoneError(NotFoundError):
    """The result of a private job has already been fetched, which is possible only once."""


class PayloadTooLargeError(InvalidInputError):
    """The body of a request is larger than the service accepts."""


class UnsupportedEncodingError(InvalidInputError):
    """The body of a request is compressed. Answered with 415."""


class SlowRequestError(InvalidInputError):
    """The body of a request did not arrive in time."""


class TooManyBytesError(RateLimitedError):
    """The bodies of a user's requests that are in progress have too many bytes together."""


# The first that fits, so the more specific classes are first.
_STATUS: dict[type[QiskitRuntimeError], int] = {
    KeyReusedError: 422,
    PayloadTooLargeError: 413,
    UnsupportedEncodingError: 415,
    SlowRequestError: 408,
    ResultGoneError: 410,
    DeletedJobError: 410,
    RateLimitedError: 429,
    InvalidInputError: 400,
    AuthenticationError: 401,
    AccessDeniedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    ServiceUnavailableError: 503,
}

_REPORTED = ("path", "rule", "kind", "identifier", "job_id")
"""Attributes of errors that the answer includes if they are set."""


def problem_response(
    status: int, message: str, *, code: int | str | None = None, **details: str
) -> JSONResponse:
    """Return an error answer; IBM's clients need both `message` and `code`."""
    error: dict[str, Any] = {"message": message, "code": status if code is None else code}
    return JSONResponse({"error": {**error, **details}}, status_code=status)


def error_response(error: QiskitRuntimeError) -> JSONResponse:
    """Return the answer that reports one of the package's errors."""
    details = {
        name: value for name in _REPORTED if (value := getattr(error, name, None)) is not None
    }
    response = problem_response(_status_of(error), str(error), **details)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = f"{error.retry_after_seconds:.0f}"
    return response


def invalid_from(error: ValidationError | RequestValidationError, what: str) -> InvalidInputError:
    """Convert the first of pydantic's faults to an error that names the path and the rule."""
    fault = error.errors()[0]
    # FastAPI puts the location ("query", "path") first; callers know where the name belongs.
    location = [part for part in fault["loc"] if part not in ("query", "path", "body", "header")]
    path = "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)
    return InvalidInputError(
        f"Invalid {what} at {path}: {fault['msg']}.", path=path, rule=fault["msg"]
    )


def install(app: FastAPI) -> None:
    """Make the app answer every error in the protocol's format."""

    @app.exception_handler(QiskitRuntimeError)
    async def _ours(_request: Request, error: QiskitRuntimeError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(invalid_from(error, "request"))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}."
        return problem_response(error.status_code, message)

    @app.exception_handler(ClientDisconnect)
    async def _left(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # never sent: the client closed the connection

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
        # The server logs the traceback; the answer must not reveal internals.
        return problem_response(
            500, f"The service failed with {type(error).__name__}; see its log."
        )


def _status_of(error: QiskitRuntimeError) -> int:
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    return 500
