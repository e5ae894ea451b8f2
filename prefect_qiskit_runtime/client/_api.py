"""The protocol of a Qiskit Runtime service, one method per endpoint. Values stay encoded."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Self
from urllib.parse import quote

import httpx
from pydantic import AliasChoices, Field, SecretStr, TypeAdapter, ValidationError

from prefect_qiskit_runtime.client._accounts import IbmAccount, SavedAccount, origin
from prefect_qiskit_runtime.client._answers import Call, malformed
from prefect_qiskit_runtime.client._calls import (
    Page,
    job_call,
    program_call,
    read_items,
    read_json,
    read_model,
    read_pages,
    segment,
    utc_text,
)
from prefect_qiskit_runtime.client._instances import InstanceSearch
from prefect_qiskit_runtime.client._stream import ResultStream
from prefect_qiskit_runtime.client._transport import Query, Transport
from prefect_qiskit_runtime.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
)
from prefect_qiskit_runtime.models import (
    BASELINE_CAPABILITIES,
    OUR_SERVICE,
    PRIMITIVES,
    SIMULATION_METHOD,
    UNKNOWN,
    BackendStatus,
    EndEvent,
    HardwareMode,
    IfExists,
    Instance,
    InstanceUsage,
    JobInfo,
    JobMetrics,
    JobState,
    JobSubmitted,
    ProgramInfo,
    ProgramMetadata,
    ProgramUploaded,
    RuntimeOptions,
    ServiceIdentity,
    ServiceKind,
    ServiceStatus,
    SessionInfo,
    SessionMode,
    Side,
    StreamEvent,
    Wire,
    package_version,
)
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

LEAVE_SECONDS = 10.0
"""How long a caller that is cancelled or failing tries to close its session."""


class SessionCalls(Transport):
    """The requests of the protocol about sessions.

    Attributes:
        kind: The features of the service.
    """

    kind: ClassVar[ServiceKind] = OUR_SERVICE

    async def create_session(
        self,
        backend: str,
        *,
        mode: SessionMode = "dedicated",
        max_time: int | None = None,
        idempotency_key: str | None = None,
    ) -> SessionInfo:
        """Open a session or a batch on a backend.

        If the caller is cancelled during the request, the answer is still awaited and the new
        session is closed, so that no unknown session remains open.

        Args:
            backend: The backend on which its jobs run.
            mode: "dedicated" for a session that holds a slot, "batch" for one that does not.
            max_time: Seconds after the start of its first job at which it closes; None for the
                service's limit.
            idempotency_key: If the service supports keys, a repeated key returns the same
                session. Default: a new random key.

        Raises:
            NotFoundError: The backend does not exist.
            InvalidInputError: The max time exceeds the service's limit.
        """
        asking = asyncio.ensure_future(
            self._create_session(backend, mode, max_time, idempotency_key)
        )
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            await cleaned_up(self._cancel_opened(asking), LEAVE_SECONDS)
            raise

    async def _cancel_opened(self, asking: Awaitable[SessionInfo]) -> None:
        with suppress(QiskitRuntimeError):
            await self.cancel_session((await asking).id)

    async def _create_session(
        self, backend: str, mode: SessionMode, max_time: int | None, key: str | None
    ) -> SessionInfo:
        kind = "batch" if mode == "batch" else "session"
        call = Call(
            "POST",
            "/sessions",
            f"open a {kind} on {backend}",
            "backend",
            backend,
            repeatable=self.kind.is_keyed,
        )
        keyed = {"Idempotency-Key": key or secrets.token_hex(16)}
        headers = keyed if self.kind.is_keyed else None
        fields = {"mode": mode, "backend": backend, "max_ttl": max_time}
        body = json.dumps({name: value for name, value in fields.items() if value is not None})
        response = await self.request(call, content=body, headers=headers)
        opened = read_model(call, response, SessionInfo)
        return opened.model_copy(
            update={
                "backend_name": backend if opened.backend_name == UNKNOWN else opened.backend_name,
                "mode": opened.mode or mode,
            }
        )

    async def get_session(self, session_id: str) -> SessionInfo:
        """Return a session."""
        call = _session_call("GET", session_id, "get")
        return read_model(call, await self.request(call), SessionInfo)

    async def session_backend(self, session_id: str) -> str:
        """Return the name of the backend of a session.

        Raises:
            ProtocolError: The service does not report it.
        """
        name = (await self.get_session(session_id)).backend_name
        if name == UNKNOWN:
            raise malformed(_session_call("GET", session_id, "get"), "backend_name: missing")
        return name

    async def list_sessions(
        self, *, limit: int | None = None, offset: int = 0, is_open: bool | None = None
    ) -> list[SessionInfo]:
        """Return this user's sessions and batches, the newest first.

        Args:
            limit: Maximum number of sessions; None for all.
            offset: Number of sessions to skip at the beginning.
            is_open: True for sessions that are not closed, False for closed ones.
        """
        call = Call("GET", "/sessions", "list sessions", repeatable=True)
        wanted = Page("sessions", SessionInfo, limit, offset)
        return await read_pages(self, call, {"open": is_open}, wanted)

    async def close_session(self, session_id: str) -> None:
        """Let a session accept no more jobs; it closes when its jobs have ended."""
        call = _session_call("PATCH", session_id, "close")
        await self.request(call, content=json.dumps({"accepting_jobs": False}))

    async def cancel_session(self, session_id: str) -> None:
        """Close a session now: queued jobs are cancelled, a running job continues."""
        await self.request(_session_call("DELETE", session_id, "cancel", "/close"))


def _session_call(method: str, session_id: str, doing: str, path: str = "") -> Call:
    return Call(
        method,
        f"/sessions/{segment('session', session_id)}{path}",
        f"{doing} session {session_id}",
        kind="session",
        identifier=session_id,
        repeatable=True,  # sending any of these again changes nothing
    )


class BackendCalls(Transport):
    """The requests of the protocol about instances and backends."""

    def active_account(self) -> dict[str, Any] | None:
        """Return the account in the form of the Qiskit Runtime services; the token stays hidden."""
        return {"url": self._url, "token": SecretStr(self._token), "instance": self._instance}

    async def list_instances(self) -> list[Instance]:
        """Return the instances that this user may use."""
        return await self._instance_search().instances()

    async def usage(self) -> InstanceUsage:
        """Return the device time that the instance has used, and its limit."""
        call = Call("GET", "/instances/usage", "get the usage of the instance", repeatable=True)
        return read_model(call, await self.request(call), InstanceUsage)

    def _instance_search(self) -> InstanceSearch:
        here = origin(self._url)
        return InstanceSearch(self._at(here), self._at(f"{here}/catalog/api/v1"))

    def _at(self, url: str) -> Transport:
        """Return a connection to another page of the same service."""
        return Transport(
            url, self._token, verify=self._verify, proxies=self._proxies, settings=self._settings
        )

    async def list_backends(self) -> list[BackendStatus]:
        """Return the backends of the service."""
        call = Call("GET", "/backends", "list backends", repeatable=True)
        body = read_json(call, await self.request(call))
        devices = read_items(call, body, "devices", _Device)
        return [device.status_of() for device in devices if device.kind != "mock"]

    async def backend_configuration(
        self, name: str, *, calibration_id: str | None = None
    ) -> dict[str, Any]:
        """Return the configuration of a backend, in IBM's form.

        Args:
            name: The backend.
            calibration_id: The calibration whose configuration is requested; None for the newest.
        """
        return await self._backend_page(name, "configuration", {"calibration_id": calibration_id})

    async def backend_properties(
        self,
        name: str,
        *,
        updated_before: datetime | None = None,
        calibration_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the calibration of a backend, in IBM's form; empty for an ideal one.

        Args:
            name: The backend.
            updated_before: Return the last calibration before this time; None for the newest.
            calibration_id: Return the calibration of this id; None for the newest.
        """
        query = {"updated_before": utc_text(updated_before), "calibration_id": calibration_id}
        return await self._backend_page(name, "properties", query)

    async def backend_status(self, name: str) -> dict[str, Any]:
        """Return `state`, `status`, `length_queue` and `backend_version` of a backend."""
        return await self._backend_page(name, "status")

    async def _backend_page(
        self, name: str, page: str, query: Query | None = None
    ) -> dict[str, Any]:
        path = f"/backends/{quote(name, safe='')}/{page}"
        doing = f"get the {page} of backend {name}"
        if (calibration_id := (query or {}).get("calibration_id")) is not None:
            doing += f" with calibration {calibration_id!r}"
        call = Call("GET", path, doing, "backend", name, True)
        return read_json(call, await self.request(call, query=query))


class _DeviceState(Wire):
    """The state of a device in a listing: online, or for example paused or offline."""

    name: Side[str] = UNKNOWN


class _Device(Wire):
    """A device in IBM's form of a listing."""

    name: str = Field(min_length=1)
    kind: Side[str | None] = Field(default=None, alias="class")  # mock devices only validate jobs
    qubits: Side[int | None] = None
    # IBM's name, then the name in older services of this package.
    is_simulator: Side[bool] = Field(
        default=False, validation_alias=AliasChoices("is_simulator", "simulator")
    )
    status: Side[_DeviceState] = Field(default_factory=_DeviceState)
    queue_length: Side[int | None] = None

    def status_of(self) -> BackendStatus:
        """Return the device in the form of this package."""
        return BackendStatus(
            name=self.name,
            qubits=self.qubits,
            simulator=self.is_simulator,
            operational=self.status.name == "online",
            queue_length=self.queue_length,
        )


@dataclass(frozen=True)
class HardwareAccess:
    """The access of programs to IBM Quantum: an account, a mode, and limits on device time.

    Attributes:
        account: The account to use; a saved account is read here, not at the service.
        mode: How a program's jobs are grouped at IBM.
        max_seconds: Device time that one evaluation may use; None for no separate limit.
        max_seconds_per_flow_run: Device time for all submissions with the same label.
        max_seconds_per_day: Device time that the account may use in one day (UTC).
        max_seconds_of_instance: Device time that the instance may use in its period.
    """

    account: IbmAccount | SavedAccount
    mode: HardwareMode = "session"
    max_seconds: float | None = None
    max_seconds_per_flow_run: float | None = None
    max_seconds_per_day: float | None = None
    max_seconds_of_instance: float | None = None


class HardwareCalls(Transport):
    """The requests of the protocol about quantum hardware."""

    _hardware: HardwareAccess | None = None

    def with_hardware(self, access: HardwareAccess) -> Self:
        """Let the programs of jobs that are submitted from here use IBM Quantum.

        Their backend is then a backend of IBM. The credentials are sent to the service for each
        job, and again if it has lost them, because it keeps them in memory only.
        """
        self._hardware = access
        return self

    async def hand_over_credentials(self, job_id: str) -> None:
        """Send the service the credentials that a queued job waits for.

        Raises:
            ConfigurationError: A saved account cannot be read.
            NotFoundError: The job does not exist.
        """
        if self._hardware is None:
            return
        account = await asyncio.to_thread(self._hardware.account.read)
        call = job_call(
            "PUT",
            job_id,
            "hand over the hardware credentials of",
            "/hardware-credentials",
            repeatable=True,
        )
        await self.request(call, content=json.dumps(account.to_fields()))

    def _hardware_fields(
        self, program_id: str, key: str | None, label: str | None
    ) -> dict[str, Any] | None:
        """Return the hardware fields of a submission.

        Raises:
            ConfigurationError: The program is a primitive, which IBM runs itself.
        """
        if self._hardware is None:
            return None
        if program_id in PRIMITIVES:
            raise ConfigurationError(
                f"The {program_id} runs at IBM Quantum itself: use RuntimeBackend(service='ibm',"
                " credentials=...) for it. hardware_credentials are for programs, which run on the"
                " embedded service or a team's service and send circuits to IBM from there."
            )
        fields = {name: value for name, value in vars(self._hardware).items() if name != "account"}
        return {"key": key or f"once-{secrets.token_hex(12)}", "label": label, **fields}


_TEXTS = TypeAdapter(list[str])

LARGEST_BODY_BYTES = 300 * 1000**2
"""The largest body of one request: the limit of IBM and our services for a job's inputs."""

# Above any number of an interim result: a stream from here has only states and the end.
_NO_INTERIM = 2**31 - 1


class RuntimeApi(SessionCalls, BackendCalls, HardwareCalls):
    """The API of one Runtime service; an async context manager.

    Programs, jobs and backends are identified by their ids. Inputs and results are the encoded
    text on the wire; `codec` encodes and decodes it. Idempotent requests are sent again after
    transient faults.

    Args:
        url: Base of the service's API.
        token: The user's token. It never appears in a message, log or repr.
        instance: The instance (CRN) to use, if the service has several.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        settings: Timeouts; read from the environment by default.

    Every method raises the class of `errors` that matches the answer: at least
    `AuthenticationError`, `ServiceUnavailableError` and `ProtocolError`.

    Attributes:
        submissions_per_minute: The rate limit of one account; None for no limit.
        keeps_private_results: Whether the result of a private job is kept until it is
            acknowledged, rather than deleted when it is sent.
    """

    submissions_per_minute: ClassVar[int | None] = None
    keeps_private_results: ClassVar[bool] = True

    # Programs -----------------------------------------------------------------------------

    async def upload_program(
        self,
        source: str,
        metadata: ProgramMetadata,
        *,
        is_public: bool | None = None,
        if_exists: IfExists = "update",
    ) -> ProgramUploaded:
        """Upload a program.

        Args:
            source: Its Python source, with a `main`.
            metadata: Its name, description, limit and schemas.
            is_public: Whether other users of the service may run it; overrides the metadata.
                None in both means False for a new program, unchanged for an existing one.
            if_exists: The action if this user has a program of that name: make a new version
                of it if anything changed, upload another program, or refuse.

        Raises:
            InvalidInputError: The source or the metadata breaks a rule.
            ConflictError: The program exists and `if_exists` is "error".
        """
        body = {
            **_with_cost(metadata.model_dump(exclude_none=True)),
            "data": _base64(source),
            "if_exists": if_exists,
        }
        if is_public is not None:
            body["is_public"] = is_public
        call = Call(
            "POST",
            "/programs",
            f"upload program {metadata.name!r}",
            kind="program",
            identifier=metadata.name,
            repeatable=if_exists == "update",
        )
        return read_model(call, await self.request(call, content=json.dumps(body)), ProgramUploaded)

    async def get_program(self, program_id: str) -> ProgramInfo:
        """Return a program, with its source if it is this user's."""
        call = program_call("GET", program_id, "get", repeatable=True)
        return read_model(call, await self.request(call), ProgramInfo)

    async def list_programs(
        self, *, limit: int | None = None, offset: int = 0, name: str | None = None
    ) -> list[ProgramInfo]:
        """Return the programs that this user can see, the newest first.

        Args:
            limit: Maximum number of programs; None for all.
            offset: Number of programs to skip at the beginning.
            name: Only programs of this name.
        """
        call = Call("GET", "/programs", "list programs", repeatable=True)
        return await read_pages(
            self, call, {"name": name}, Page("programs", ProgramInfo, limit, offset)
        )

    async def update_program_data(self, program_id: str, source: str) -> None:
        """Replace the source of a program, which creates a new version."""
        call = program_call("PUT", program_id, "update the source of", "/data", repeatable=True)
        headers = {"Content-Type": "application/octet-stream"}
        await self.request(call, content=_base64(source), headers=headers)

    async def update_program_metadata(self, program_id: str, changes: Mapping[str, Any]) -> None:
        """Change the metadata of a program, which creates a new version.

        Args:
            program_id: The program.
            changes: Any of `name`, `description`, `max_execution_time` and `spec`; other
                fields are unchanged.
        """
        call = program_call("PATCH", program_id, "update", repeatable=True)
        await self.request(call, content=json.dumps(_with_cost(changes)))

    async def set_program_visibility(self, program_id: str, *, public: bool) -> None:
        """Let all users of the service run a program, or only its owner."""
        path = "/public" if public else "/private"
        call = program_call("PUT", program_id, f"make {path[1:]}", path, repeatable=True)
        await self.request(call)

    async def delete_program(self, program_id: str) -> None:
        """Delete a program. Jobs that ran it keep their version."""
        await self.request(program_call("DELETE", program_id, "delete"))

    # Jobs ---------------------------------------------------------------------------------

    async def submit_job(
        self,
        program_id: str,
        params_text: str,
        *,
        backend: str | None = None,
        options: RuntimeOptions | None = None,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        attempt: int = 1,
        hardware_key: str | None = None,
        hardware_label: str | None = None,
    ) -> JobSubmitted:
        """Submit a job exactly once, even if the request has to be sent again.

        If `kind.is_keyed` is False, the request is sent once, and an unclear outcome raises.

        Args:
            program_id: The program to run.
            params_text: Its inputs, an encoded JSON object.
            backend: The backend for its circuits; None lets the service choose.
            options: Options of the run.
            idempotency_key: A repeated key returns the same job, even days later. None
                generates a key, so that a broken connection does not submit twice.
            fingerprint: Identifies equal submissions under one key (see `codec.fingerprint`).
                Default: the exact text of the request.
            attempt: Number of the attempt of this evaluation, from 1.
            hardware_key: Name of the evaluation, the same for all attempts; its program finds
                earlier submissions to hardware under this name (see `with_hardware`).
            hardware_label: Tag of these hardware submissions; None for the id of the job.

        Raises:
            ConfigurationError: The service is older than an option and would ignore it.
            NotFoundError: The program, the backend or the session does not exist.
            SessionClosedError: The session accepts no more jobs.
            InvalidInputError: The inputs break the program's schema (see `path` and `rule`) or
                are too large, or the key was used for another submission.
        """
        self._require_program(program_id)
        self._require_simulator(options)
        call = self._submission(program_id, backend)
        await self._require_capabilities(call, options)
        hardware = self._hardware_fields(program_id, hardware_key, hardware_label)
        head = self._job_head(program_id, backend, options or RuntimeOptions(), attempt, hardware)
        # The inputs are inserted unchanged: encoding them again could change them and takes time.
        body = f'{head[:-1]}, "params": {params_text}}}'
        _require_sendable(call, body)
        headers = _key_headers(idempotency_key, fingerprint) if self.kind.is_keyed else {}
        session_id = None if options is None else options.session_id
        response = await self._send_submission(call, body, headers, session_id)
        submitted = read_model(call, response, JobSubmitted)
        self._note_submitted(submitted.id)
        if hardware is not None:
            await self.hand_over_credentials(submitted.id)
        replayed = response.headers.get("Idempotent-Replayed", "").lower() == "true"
        asked = submitted.backend if submitted.backend != UNKNOWN else backend or UNKNOWN
        return submitted.model_copy(update={"replayed": replayed, "backend": asked})

    def _submission(self, program_id: str, backend: str | None) -> Call:
        return Call(
            "POST",
            "/jobs",
            f"submit a job of program {program_id}" + (f" to {backend}" if backend else ""),
            kind="program",
            identifier=program_id,
            repeatable=self.kind.is_keyed,
        )

    async def _send_submission(
        self, call: Call, body: str, headers: dict[str, str], session_id: str | None
    ) -> httpx.Response:
        """Send a submission; if it is refused because its session is closed, raise that error."""
        try:
            return await self.request(call, content=body, headers=headers)
        except (ConflictError, InvalidInputError, NotFoundError) as refusal:
            if session_id is not None:
                await self._require_open_session(session_id, refusal)
            raise

    def _job_head(
        self,
        program_id: str,
        backend: str | None,
        options: RuntimeOptions,
        attempt: int,
        hardware: Mapping[str, Any] | None,
    ) -> str:
        """Return the body of a submission without the inputs."""
        fields = {
            "program_id": program_id,
            "backend": backend,
            "runtime": options.image or self._default_image(),
            "tags": options.tags,
            "attempt": attempt if self.kind.is_keyed else None,
            "cost": options.max_execution_time,
            "log_level": options.log_level,
            "private": options.private or None,
            "session_id": options.session_id,
            "start_session": options.start_session or None,
            "session_time": options.session_time,
            "calibration_id": options.calibration_id,
            "hardware": hardware,
            "simulation": (
                None
                if options.simulation is None
                else options.simulation.model_dump(exclude_defaults=True)
            ),
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None})

    def _require_simulator(self, options: RuntimeOptions | None) -> None:
        """Raise if a job has settings of a simulation and runs on devices."""
        if options is not None and options.simulation is not None and not self.kind.takes_seed:
            raise ConfigurationError(
                "The option simulation cannot be used with IBM Quantum: its jobs run on devices,"
                " and nothing is simulated."
            )

    async def _require_capabilities(self, call: Call, options: RuntimeOptions | None) -> None:
        """Raise if the service is older than an option of a job, which it would ignore.

        The answer is not kept, because a service can be replaced by an older release.
        """
        needed = _needed_capabilities(options)
        if not needed:
            return
        release, names = await self._capabilities()
        for name, wanted in needed.items():
            if name not in names:
                raise ConfigurationError(
                    f"Cannot {call.doing} with {wanted}: the service at {self.url} ({release}) has"
                    f" no capability {name!r} and would ignore it. Nothing was submitted."
                    f" {self._how_to_upgrade()} Or leave the option out."
                )

    async def _capabilities(self) -> tuple[str, Sequence[str]]:
        """Return the release of the service, and the names of what it can do.

        If it publishes nothing that can be read, as behind a proxy, it has the baseline.
        """
        call = Call(
            "GET",
            "/.well-known/qiskit-runtime",
            "read the capabilities of the service",
            repeatable=True,
        )
        try:
            identity = read_model(call, await self.request(call), ServiceIdentity)
        except (AccessDeniedError, NotFoundError, ProtocolError):
            return "an unknown release", BASELINE_CAPABILITIES
        return f"prefect-qiskit-runtime {identity.package_version}", identity.capabilities

    def _how_to_upgrade(self) -> str:
        return (
            "Its administrator can upgrade it to the release of this client,"
            f" {package_version()}, or a later one."
        )

    def _require_program(self, program_id: str) -> None:
        """Raise if this kind of service cannot have the program."""
        if not self.kind.runs_programs and program_id not in PRIMITIVES:
            raise no_programs(f"run the program {program_id!r}")

    async def _require_open_session(self, session_id: str, refusal: QiskitRuntimeError) -> None:
        """Raise if the job was refused because of a closed session; ours report that directly."""

    def _note_submitted(self, job_id: str) -> None:
        """Record the id of a job that was submitted; ours show a job at once."""

    def _default_image(self) -> str | None:
        """Return the image of a job without one; None lets the service choose."""
        return None

    async def get_job(self, job_id: str) -> JobInfo:
        """Return a job, without its inputs."""
        call = job_call("GET", job_id, "get", repeatable=True)
        return read_model(call, await self.request(call, query={"exclude_params": True}), JobInfo)

    async def job_inputs(self, job_id: str) -> str:
        """Return the inputs of a job as encoded JSON text."""
        call = job_call("GET", job_id, "get the inputs of", repeatable=True)
        body = read_json(call, await self.request(call, query={"exclude_params": False}))
        params = body.get("params")
        if not isinstance(params, dict | None):
            raise malformed(call, f"params: {type(params).__name__}, not an object")
        return json.dumps(params or {})

    async def list_jobs(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        pending: bool | None = None,
        program_id: str | None = None,
        backend: str | None = None,
        tags: Iterable[str] = (),
        session_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        oldest_first: bool = False,
    ) -> list[JobInfo]:
        """Return this user's jobs, the newest first.

        Args:
            limit: Maximum number of jobs; None for all.
            offset: Number of jobs to skip at the beginning.
            pending: True for jobs that have not ended, False for those that have.
            program_id: Only jobs of this program.
            backend: Only jobs on this backend.
            tags: Only jobs that have all of these tags.
            session_id: Only jobs of this session.
            created_after: Only jobs created at this time or later (aware, or local).
            created_before: Only jobs created at this time or before.
            oldest_first: Reverse the order.
        """
        query: dict[str, str | bool | list[str] | None] = {
            "exclude_params": True,
            "pending": pending,
            "program": program_id,
            "backend": backend,
            "tags": list(tags),
            "session_id": session_id,
            "created_after": utc_text(created_after),
            "created_before": utc_text(created_before),
            "sort": "ASC" if oldest_first else None,
        }
        call = Call("GET", "/jobs", "list jobs", repeatable=True)
        return await read_pages(self, call, query, Page("jobs", JobInfo, limit, offset))

    async def job_result(self, job_id: str) -> bytes | None:
        """Return the encoded result of a job, or its error with traceback; None if it has none.

        The result of a private job is kept until `acknowledge_result`.

        Raises:
            NotFoundError: The job does not exist, or it is private and its result was already
                returned.
        """
        call = job_call("GET", job_id, "get the result of", "/results", repeatable=True)
        headers = {"Result-Acknowledgement": "explicit"}
        return (await self.request(call, headers=headers)).content or None

    def sends_once(self, *, private: bool) -> bool:
        """Return whether the service deletes the result of a job when it sends it."""
        return private and not self.keeps_private_results

    async def acknowledge_result(self, job_id: str) -> None:
        """Confirm that the result of a private job is stored, so that the service deletes it.

        Its interim results are deleted too. A job that is not private is unchanged.
        """
        call = job_call("DELETE", job_id, "acknowledge the result of", "/results", repeatable=True)
        await self.request(call)

    async def job_interim_results(self, job_id: str) -> list[str]:
        """Return the encoded interim results that a job has published so far."""
        call = job_call(
            "GET", job_id, "get the interim results of", "/interim_results", repeatable=True
        )
        response = await self.request(call)
        try:
            return _TEXTS.validate_json(response.content)
        except ValidationError as exc:
            raise malformed(call, exc, response.url) from exc

    async def job_logs(self, job_id: str) -> str:
        """Return the log of a job: its standard output and error."""
        call = job_call("GET", job_id, "get the logs of", "/logs", repeatable=True)
        return (await self.request(call)).content.decode("utf-8", errors="replace")

    async def job_metrics(self, job_id: str) -> JobMetrics:
        """Return times, usage and versions of a job."""
        call = job_call("GET", job_id, "get the metrics of", "/metrics", repeatable=True)
        return read_model(call, await self.request(call), JobMetrics)

    async def update_job_tags(self, job_id: str, tags: Iterable[str]) -> None:
        """Replace the tags of a job."""
        call = job_call("PUT", job_id, "update the tags of", "/tags", repeatable=True)
        await self.request(call, content=json.dumps({"tags": list(tags)}))

    async def cancel_job(self, job_id: str) -> None:
        """Cancel a job.

        Raises:
            ConflictError: The job has already ended.
        """
        await self.request(job_call("POST", job_id, "cancel", "/cancel"))

    async def delete_job(self, job_id: str) -> None:
        """Delete a job with its inputs, results and log; cancel it first if it has not ended."""
        await self.request(job_call("DELETE", job_id, "delete"))

    def require_interim_results(self) -> None:
        """Raise if jobs of this service never publish interim results.

        Raises:
            ConfigurationError: The service has no interim results.
        """
        if not self.kind.has_interim_results:
            raise no_interim_results("stream interim results")

    def stream(self, job_id: str, from_seq: int = 0) -> AsyncGenerator[StreamEvent]:
        """Follow a job: its state, interim results from `from_seq` on, heartbeats, and its end.

        Each interim result is yielded once and in order, even across broken connections and long
        after the end. Use `contextlib.aclosing` to close the connection at a defined time.

        Raises:
            NotFoundError: The job does not exist.
            ServiceUnavailableError: The service could not be reached for two minutes.
        """
        when_queued = None
        if self._hardware is not None:
            when_queued = partial(self.hand_over_credentials, job_id)
        return ResultStream(self, job_id, from_seq, when_queued=when_queued).events()

    async def wait_for_job(self, job_id: str) -> JobState:
        """Return the final state of a job as soon as it ends; no interim results are sent."""
        async for event in self.stream(job_id, _NO_INTERIM):
            if isinstance(event, EndEvent):
                return event.state
        raise AssertionError  # a stream ends with its EndEvent or raises

    # The service --------------------------------------------------------------------------

    async def service_status(self) -> ServiceStatus:
        """Return the status that the service reports."""
        call = Call("GET", "/service/status", "get the status of the service", repeatable=True)
        return read_model(call, await self.request(call), ServiceStatus)

    async def logout(self) -> None:
        """Ask the service to forget the rights it has cached. Tokens stay valid."""
        await self.request(Call("POST", "/logout", "log out", repeatable=True))

    async def shutdown(self, *, only_if_idle: bool = True) -> None:
        """Ask an embedded service to end.

        Raises:
            ConflictError: Jobs run or are queued, and `only_if_idle` is set.
        """
        call = Call("POST", "/service/shutdown", "stop the service")
        await self.request(call, query={"only_if_idle": only_if_idle})


def _needed_capabilities(options: RuntimeOptions | None) -> dict[str, str]:
    """Return the capabilities beyond the baseline that a job needs, and which option needs them."""
    if options is None or options.simulation is None:
        return {}
    settings = options.simulation.model_dump(exclude_defaults=True)
    if not settings:
        return {}
    named = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return {SIMULATION_METHOD: f"the option simulation ({named})"}


def _with_cost(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with the limit of a program under the name in IBM's protocol."""
    return {
        "cost" if field == "max_execution_time" else field: value
        for field, value in metadata.items()
    }


def _require_sendable(call: Call, body: str) -> None:
    """Raise before sending if the service would reject the size of the body.

    Raises:
        InvalidInputError: The body is too large.
    """
    num_bytes = len(body) if body.isascii() else len(body.encode())
    if num_bytes > LARGEST_BODY_BYTES:
        raise InvalidInputError(
            f"Cannot {call.doing}: its inputs are too large. The request would have {num_bytes:,}"
            f" bytes, and {LARGEST_BODY_BYTES:,} are allowed. Nothing was sent. Reduce the inputs,"
            " or split them among several jobs.",
            path="$",
            rule="300 MB",
        )


def _key_headers(key: str | None, fingerprint: str | None) -> dict[str, str]:
    """Return the headers that let the service detect a repeated submission."""
    headers = {"Idempotency-Key": _checked_key(key or f"once-{uuid.uuid4()}")}
    if fingerprint is not None:
        headers["Idempotency-Fingerprint"] = fingerprint
    return headers


def _checked_key(key: str) -> str:
    """Return the key after checking that it is valid in a header."""
    if not re.fullmatch(r"[!-~]{1,255}", key):
        raise InvalidInputError(
            f"An idempotency key has 1 to 255 printable ASCII characters and no space: {key!r:.80}",
            rule="printable ASCII",
        )
    return key


def _base64(source: str) -> str:
    try:
        return base64.b64encode(source.encode()).decode()
    except UnicodeEncodeError as exc:
        raise InvalidInputError(
            f"The source is not Unicode text: {exc.reason} at character {exc.start}.",
            path="$.data",
            rule="Unicode text",
        ) from exc


_WHERE_PROGRAMS_RUN = (
    "Programs run on the embedded service (RuntimeBackend(service='embedded'), the default) and on"
    " a team's (service='team'); with hardware_credentials they send their circuits to IBM from"
    " there."
)


def no_programs(doing: str) -> ConfigurationError:
    """Return the error for a service that only runs primitives."""
    return ConfigurationError(
        f"Cannot {doing} on IBM Quantum: IBM removed custom programs from its cloud in 2024 and"
        f" runs primitives only ({', '.join(PRIMITIVES)}). {_WHERE_PROGRAMS_RUN}"
    )


def no_interim_results(doing: str) -> ConfigurationError:
    """Return the error for a service whose jobs publish no interim results."""
    return ConfigurationError(
        f"Cannot {doing} on IBM Quantum: IBM removed interim results from its cloud in 2024, along"
        f" with custom programs. {_WHERE_PROGRAMS_RUN}"
    )
