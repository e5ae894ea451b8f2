"""Logins of IBM's clients: to IBM Quantum (including qiskit-ibmq-provider) and to IBM Cloud."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from prefect_qiskit_runtime.errors import AuthenticationError
from prefect_qiskit_runtime.models import package_version
from prefect_qiskit_runtime.service.access_tokens import Purpose
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.openapi import answers, object_of, takes
from prefect_qiskit_runtime.service.request_json import read_model

router = APIRouter()

_TEXT = {"type": "string"}

# As at IBM: two weeks, and one hour.
_QUANTUM_SECONDS = 14 * 24 * 3600
_CLOUD_SECONDS = 3600


class _Login(BaseModel):
    """Body of a login with IBM Quantum's API token."""

    api_token: str = Field(alias="apiToken", min_length=1)


async def _origin(connection: HTTPConnection) -> str:
    """Return the URL by which the client reaches this service, without a path."""
    return str(connection.base_url).rstrip("/")


Origin = Annotated[str, Depends(_origin)]


@router.get("/version")
async def get_version() -> dict[str, Any]:
    """Return the API version; requested before the login."""
    return {"api-auth": package_version(), "api-app": package_version()}


@router.post(
    "/users/loginWithToken",
    openapi_extra=takes(_Login),
    responses=answers(object_of(id=_TEXT, userId=_TEXT), 401),
)
async def log_in(request: Request, context: Context) -> dict[str, Any]:
    """Return an access token for an API token."""
    login = await read_model(request, _Login, "login")
    owner = context.authenticator.log_in(login.api_token)
    access = context.authenticator.access.issue(owner, Purpose.API, seconds=_QUANTUM_SECONDS)
    return {"id": access, "ttl": _QUANTUM_SECONDS, "userId": owner.user}


@router.get("/users/me")
async def get_user(owner: Caller, origin: Origin) -> dict[str, Any]:
    """Return the user who is logged in, and the URLs of the APIs."""
    urls = {
        "http": f"{origin}/api",
        "ws": f"{origin.replace('http', 'ws', 1)}/api",
        "services": {"runtime": f"{origin}/api"},
    }
    return {"id": owner.user, "username": owner.user, "urls": urls}


@router.post("/logout", status_code=204, responses=answers(status=204))
async def log_out(_: Caller) -> Response:
    """Answer a request to forget the caller's cached rights, of which this service has none.

    The access token stays valid: after `logout()`, qiskit-ibmq-provider continues with it.
    """
    return Response(status_code=204)


@router.post(
    "/identity/token",
    openapi_extra=takes(object_of(apikey=_TEXT), media_type="application/x-www-form-urlencoded"),
    responses={
        **answers(object_of(access_token=_TEXT, expires_in={"type": "integer"})),
        **answers(object_of(errorCode=_TEXT, errorMessage=_TEXT), status=400),
    },
)
async def get_iam_token(request: Request, context: Context) -> JSONResponse:
    """Return an access token for an API key, as IBM Cloud's identity service does."""
    form = parse_qs((await request.body()).decode("latin-1"))
    try:
        owner = context.authenticator.log_in(form.get("apikey", [""])[0])
    except AuthenticationError:
        # In that service's format: qiskit-ibm-runtime then warns and sends the key itself.
        refusal = {"errorCode": "BXNIM0415E", "errorMessage": "Provided API key was not found."}
        return JSONResponse(refusal, status_code=400)
    access = context.authenticator.access
    token = access.issue(owner, Purpose.API, seconds=_CLOUD_SECONDS)
    return JSONResponse(
        {
            "access_token": token,
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": _CLOUD_SECONDS,
            "expiration": access.read(token, Purpose.API).expires_at,
            "scope": "ibm openid",
        }
    )
