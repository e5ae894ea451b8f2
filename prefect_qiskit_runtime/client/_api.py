"""The protocol of a Qiskit Runtime service, one method per endpoint. Values stay encoded."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Self
from urllib.parse import quote

from pydantic import SecretStr, TypeAdapter, ValidationError

from prefect_qiskit_runtime.client._accounts import IbmAccount, SavedAccount, origin
from prefect_qiskit_runtime.client._answers import Call, malformed
from prefect_qiskit_runtime.client._calls import (
    Page,
    job_call,
    program_call,
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
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    QiskitRuntimeError,
)
from prefect_qiskit_runtime.models import (
    OUR_SERVICE,
    PRIMITIVES,
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
    ServiceKind,
    ServiceStatus,
    SessionInfo,
    SessionMode,
    StreamEvent,
)
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

LEAVE_SECONDS = 10.0
"""How long a caller that is going away tries to close its session."""


class SessionCalls(Transport):
    """The part of a service's protocol that is about sessions.

    Attributes:
        kind: What the service does and lacks.
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

        A caller that is cancelled while the request is under way leaves no session behind that
        nobody knows of: the answer is awaited, and the session closed.

        Args:
            backend: Where its jobs run.
            mode: "dedicated" for a session that holds a slot, "batch" for one that does not.
            max_time: Seconds after the start of its first job at which it closes; the service's
                when None.
            idempotency_key: Where the service knows keys, the same session is given for it
                again. Default: one that nobody else has.

        Raises:
            NotFoundError: No such backend.
            InvalidInputError: The max time is longer than the service's.
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
        return read_model(
            call, await self.request(call, content=body, headers=headers), SessionInfo
        )

    async def get_session(self, session_id: str) -> SessionInfo:
        """Return a session."""
        call = _session_call("GET", session_id, "get")
        return read_model(call, await self.request(call), SessionInfo)

    async def list_sessions(
        self, *, limit: int | None = None, offset: int = 0, is_open: bool | None = None
    ) -> list[SessionInfo]:
        """Return this user's sessions and batches, the newest first.

        Args:
            limit: How many at most; None for all.
            offset: How many to leave out at the beginning.
            is_open: True for those that are not closed, False for those that are.
        """
        call = Call("GET", "/sessions", "list sessions", repeatable=True)
        wanted = Page("sessions", SessionInfo, limit, offset)
        return await read_pages(self, call, {"open": is_open}, wanted)

    async def close_session(self, session_id: str) -> None:
        """Take no more jobs into a session: it closes when those that it has are done."""
        call = _session_call("PATCH", session_id, "close")
        await self.request(call, content=json.dumps({"accepting_jobs": False}))

    async def cancel_session(self, session_id: str) -> None:
        """Close a session now: the jobs that wait in it are cancelled, one that runs goes on."""
        await self.request(_session_call("DELETE", session_id, "cancel", "/close"))


def _session_call(method: str, session_id: str, doing: str, path: str = "") -> Call:
    return Call(
        method,
        f"/sessions/{segment('session', session_id)}{path}",
        f"{doing} session {session_id}",
        kind="session",
        identifier=session_id,
        repeatable=True,  # whatever it does, a second time does nothing more
    )


class BackendCalls(Transport):
    """Asks one Runtime service for its instances and backends."""

    def active_account(self) -> dict[str, Any] | None:
        """Return who asks, as the Qiskit Runtime services say it; the token stays hidden."""
        return {"url": self._url, "token": SecretStr(self._token), "instance": self._instance}

    async def list_instances(self) -> list[Instance]:
        """Return the instances that this user may use."""
        return await self._instance_search().instances()

    async def usage(self) -> InstanceUsage:
        """Return how much time of backends the instance has used, and its limit."""
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
        try:
            return [
                _backend_status(device)
                for device in body["devices"]
                if device.get("class") != "mock"  # IBM's, which check jobs and compute nothing
            ]
        except (KeyError, TypeError, AttributeError, ValidationError) as exc:
            raise malformed(call, exc) from exc

    async def backend_configuration(
        self, name: str, *, calibration_id: str | None = None
    ) -> dict[str, Any]:
        """Return the configuration of a backend, in IBM's form.

        Args:
            name: The backend.
            calibration_id: As it was with this calibration; None for the newest.
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
            updated_before: The last one before this time; None for the newest.
            calibration_id: The one of this id; None for the newest.
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


def _backend_status(device: Mapping[str, Any]) -> BackendStatus:
    return BackendStatus(
        name=device["name"],
        qubits=device["qubits"],
        # As IBM says it, and as services of this package did.
        simulator=device.get("is_simulator", device.get("simulator", False)),
        operational=device.get("status", {}).get("name") == "online",
        queue_length=device.get("queue_length", 0),
    )


@dataclass(frozen=True)
class HardwareAccess:
    """What programs use of IBM Quantum.

    Attributes:
        account: Whose credentials; a saved account is read here, not at the service.
        mode: How the jobs of a program belong together there.
        max_seconds: How much of the device's time one evaluation may use; None for no limit of
            its own.
        max_seconds_per_flow_run: How much all that have the label of a submission may use.
        max_seconds_per_day: How much the account may use in one day (UTC).
        max_seconds_of_instance: How much the instance may use in its period.
    """

    account: IbmAccount | SavedAccount
    mode: HardwareMode = "session"
    max_seconds: float | None = None
    max_seconds_per_flow_run: float | None = None
    max_seconds_per_day: float | None = None
    max_seconds_of_instance: float | None = None


class HardwareCalls(Transport):
    """The part of a service's protocol that is about quantum hardware."""

    _hardware: HardwareAccess | None = None

    def with_hardware(self, access: HardwareAccess) -> Self:
        """Let the programs of jobs that are submitted from here use IBM Quantum.

        Their backend is then one of IBM's. The credentials are handed to the service for each
        job, and again when it has lost them: it keeps them in memory only.
        """
        self._hardware = access
        return self

    async def hand_over_credentials(self, job_id: str) -> None:
        """Give the service the credentials that a queued job waits for.

        Raises:
            ConfigurationError: A saved account cannot be read.
            NotFoundError: There is no such job.
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
        """Return what a submission says of its hardware.

        Raises:
            ConfigurationError: A primitive was asked for, which IBM runs itself.
        """
        if self._hardware is None:
            return None
        if program_id in PRIMITIVES:
            raise ConfigurationError(
                f"The {program_id} runs at IBM Quantum itself: use RuntimeBackend(service='ibm',"
                " credentials=...) for it. hardware_credentials are for programs, which run on the"
                " embedded service or a team's and send circuits to IBM from there."
            )
        fields = {name: value for name, value in vars(self._hardware).items() if name != "account"}
        return {"key": key or f"once-{secrets.token_hex(12)}", "label": label, **fields}


_TEXTS = TypeAdapter(list[str])

LARGEST_BODY_BYTES = 300 * 1000**2
"""Of one request: IBM's limit for the inputs of a job, and that of our services."""

# Above every number of an interim result: a stream from here brings states and the end only.
_NO_INTERIM = 2**31 - 1


class RuntimeApi(SessionCalls, BackendCalls, HardwareCalls):
    """Asks one Runtime service; an async context manager.

    Programs, jobs and backends are named by their ids. Inputs and results are the encoded text
    that goes over the wire; `codec` makes and reads it. Questions that change nothing, or have
    the same effect when they arrive twice, are asked again after passing faults.

    Args:
        url: Base of the service's API.
        token: Who asks. It stands in no message, log or repr.
        instance: The instance (CRN) to use, where the service has several.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        settings: Timeouts; read from the environment by default.

    Every method raises the errors of `errors` that its answer may mean, at least
    `AuthenticationError`, `ServiceUnavailableError` and `ProtocolError`.

    Attributes:
        submissions_per_minute: How many the service takes from one account; None for any number.
    """

    submissions_per_minute: ClassVar[int | None] = None

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
            metadata: What it says of itself.
            is_public: Whether other users of the service may run it, over the metadata's; None
                in both leaves it to you only, or as it was.
            if_exists: What to do when this user has a program of that name: make a new
                version of it if anything changed, upload another one, or refuse.

        Raises:
            InvalidInputError: The source or the metadata break a rule.
            ConflictError: It exists and `if_exists` is "error".
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

    async def program_version_source(self, program_id: str, version: int) -> str:
        """Return the source of a version of this user's program, also of a past one."""
        path = f"/versions/{version}"
        call = program_call("GET", program_id, f"get version {version} of", path, repeatable=True)
        return (await self.request(call)).text

    async def list_programs(
        self, *, limit: int | None = None, offset: int = 0, name: str | None = None
    ) -> list[ProgramInfo]:
        """Return the programs that this user sees, the newest first.

        Args:
            limit: How many at most; None for all.
            offset: How many to leave out at the beginning.
            name: Those of this name only.
        """
        call = Call("GET", "/programs", "list programs", repeatable=True)
        return await read_pages(
            self, call, {"name": name}, Page("programs", ProgramInfo, limit, offset)
        )

    async def update_program_data(self, program_id: str, source: str) -> None:
        """Give a program another source: a new version of it."""
        call = program_call("PUT", program_id, "update the source of", "/data", repeatable=True)
        headers = {"Content-Type": "application/octet-stream"}
        await self.request(call, content=_base64(source), headers=headers)

    async def update_program_metadata(self, program_id: str, changes: Mapping[str, Any]) -> None:
        """Change what a program says of itself: a new version of it.

        Args:
            program_id: The program.
            changes: Any of `name`, `description`, `max_execution_time` and `spec`; what it
                leaves out stays.
        """
        call = program_call("PATCH", program_id, "update", repeatable=True)
        await self.request(call, content=json.dumps(_with_cost(changes)))

    async def set_program_visibility(self, program_id: str, *, public: bool) -> None:
        """Let all users of the service run a program, or its owner only."""
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
        """Submit a job: once, however often the question has to be sent.

        Where `kind.is_keyed` is False it is sent once, and an unclear outcome is raised.

        Args:
            program_id: The program to run.
            params_text: Its inputs, an encoded JSON object.
            backend: Where its circuits go; the service chooses when None.
            options: How it is to run.
            idempotency_key: The same key gives the same job, also days later. One is made up
                when None, so that a broken connection does not submit twice.
            fingerprint: What makes two submissions under one key the same (see
                `codec.fingerprint`). Default: all that is sent, to the letter.
            attempt: Which attempt of one evaluation this is, from 1.
            hardware_key: Name of the evaluation, the same for all attempts: what its program
                submits to hardware is found again under it (see `with_hardware`).
            hardware_label: What that bears there as a tag; the id of the job when None.

        Raises:
            NotFoundError: No such program, backend or session.
            SessionClosedError: The session takes no more jobs.
            InvalidInputError: The inputs break the program's schema (`path` and `rule` say
                where) or are too large to be sent, or the key was used for another submission.
        """
        self._require_program(program_id)
        call = Call(
            "POST",
            "/jobs",
            f"submit a job of program {program_id}" + (f" to {backend}" if backend else ""),
            kind="program",
            identifier=program_id,
            repeatable=self.kind.is_keyed,
        )
        hardware = self._hardware_fields(program_id, hardware_key, hardware_label)
        head = self._job_head(program_id, backend, options or RuntimeOptions(), attempt, hardware)
        # The inputs go in as they are: encoding them again could change them, and costs.
        body = f'{head[:-1]}, "params": {params_text}}}'
        _require_sendable(call, body)
        headers = _key_headers(idempotency_key, fingerprint) if self.kind.is_keyed else {}
        try:
            response = await self.request(call, content=body, headers=headers)
        except (ConflictError, InvalidInputError, NotFoundError) as refusal:
            if options is not None and options.session_id is not None:
                await self._require_open_session(options.session_id, refusal)
            raise
        submitted = read_model(call, response, JobSubmitted)
        if hardware is not None:
            await self.hand_over_credentials(submitted.id)
        replayed = response.headers.get("Idempotent-Replayed", "").lower() == "true"
        return submitted.model_copy(update={"replayed": replayed})

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
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None})

    def _require_program(self, program_id: str) -> None:
        """Refuse a program that this kind of service never has."""
        if not self.kind.runs_programs and program_id not in PRIMITIVES:
            raise no_programs(f"run the program {program_id!r}")

    async def _require_open_session(self, session_id: str, refusal: QiskitRuntimeError) -> None:
        """Say so if a job was refused because its session is closed; our services do themselves."""

    def _default_image(self) -> str | None:
        """The image of a job that names none; None leaves it to the service."""
        return None

    async def get_job(self, job_id: str) -> JobInfo:
        """Return a job, without its inputs."""
        call = job_call("GET", job_id, "get", repeatable=True)
        return read_model(call, await self.request(call, query={"exclude_params": True}), JobInfo)

    async def job_inputs(self, job_id: str) -> str:
        """Return the inputs of a job as encoded JSON text."""
        call = job_call("GET", job_id, "get the inputs of", repeatable=True)
        body = read_json(call, await self.request(call, query={"exclude_params": False}))
        return json.dumps(body.get("params", {}))

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
            limit: How many at most; None for all.
            offset: How many to leave out at the beginning.
            pending: True for those that have not ended, False for those that have.
            program_id: Those of this program only.
            backend: Those on this backend only.
            tags: Those that have all of these tags only.
            session_id: Those of this session only.
            created_after: Those made at this time or later only (aware, or local).
            created_before: Those made at this time or before only.
            oldest_first: Turn the order round.
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

        That of a private job stays until `acknowledge_result`.

        Raises:
            NotFoundError: No such job, or it is private and its result was given out before.
        """
        call = job_call("GET", job_id, "get the result of", "/results", repeatable=True)
        headers = {"Result-Acknowledgement": "explicit"}
        return (await self.request(call, headers=headers)).content or None

    async def acknowledge_result(self, job_id: str) -> None:
        """Say that the result of a private job is in a safe place: the service deletes it.

        Its interim results go as well. Nothing happens to a job that is not private.
        """
        call = job_call("DELETE", job_id, "acknowledge the result of", "/results", repeatable=True)
        await self.request(call)

    async def job_interim_results(self, job_id: str) -> list[str]:
        """Return the encoded interim results of a job that there are so far."""
        call = job_call(
            "GET", job_id, "get the interim results of", "/interim_results", repeatable=True
        )
        response = await self.request(call)
        try:
            return _TEXTS.validate_json(response.content)
        except ValidationError as exc:
            raise malformed(call, exc) from exc

    async def job_logs(self, job_id: str) -> str:
        """Return the log of a job: what it wrote to standard output and error."""
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
            ConflictError: It has ended already.
        """
        await self.request(job_call("POST", job_id, "cancel", "/cancel"))

    async def delete_job(self, job_id: str) -> None:
        """Delete an ended job with its inputs, results and log.

        Raises:
            ConflictError: It has not ended.
        """
        await self.request(job_call("DELETE", job_id, "delete"))

    def require_interim_results(self) -> None:
        """Refuse to wait for interim results where jobs never publish any.

        Raises:
            ConfigurationError: This is such a service.
        """
        if not self.kind.has_interim_results:
            raise no_interim_results("stream interim results")

    def stream(self, job_id: str, from_seq: int = 0) -> AsyncGenerator[StreamEvent]:
        """Follow a job: its state, interim results from a number, heartbeats, and its end.

        Each interim result comes once and in order, also across broken connections and long
        after the end. To close the connection at a known time, put `contextlib.aclosing`
        around it.

        Raises:
            NotFoundError: No such job.
            ServiceUnavailableError: The service could not be reached for two minutes.
        """
        when_queued = None
        if self._hardware is not None:
            when_queued = partial(self.hand_over_credentials, job_id)
        return ResultStream(self, job_id, from_seq, when_queued=when_queued).events()

    async def wait_for_job(self, job_id: str) -> JobState:
        """Return how a job ended, as soon as it has. No interim result is transferred."""
        async for event in self.stream(job_id, _NO_INTERIM):
            if isinstance(event, EndEvent):
                return event.state
        raise AssertionError  # a stream ends with its EndEvent or raises

    # The service --------------------------------------------------------------------------

    async def service_status(self) -> ServiceStatus:
        """Return what the service says of itself."""
        call = Call("GET", "/service/status", "get the status of the service", repeatable=True)
        return read_model(call, await self.request(call), ServiceStatus)

    async def logout(self) -> None:
        """Take back an access token that a login gave. A user's own token stays good."""
        await self.request(Call("POST", "/logout", "log out", repeatable=True))

    async def shutdown(self, *, only_if_idle: bool = True) -> None:
        """Ask an embedded service to end.

        Raises:
            ConflictError: Jobs run or wait and `only_if_idle` is set.
        """
        call = Call("POST", "/service/shutdown", "stop the service")
        await self.request(call, query={"only_if_idle": only_if_idle})


def _with_cost(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Name the limit of a program as IBM's protocol does."""
    return {
        "cost" if field == "max_execution_time" else field: value
        for field, value in metadata.items()
    }


def _require_sendable(call: Call, body: str) -> None:
    """Refuse what the service would refuse once it has all of it, or a good part.

    Raises:
        InvalidInputError: The body is too large.
    """
    num_bytes = len(body) if body.isascii() else len(body.encode())
    if num_bytes > LARGEST_BODY_BYTES:
        raise InvalidInputError(
            f"Cannot {call.doing}: its inputs are too large. The request would have {num_bytes:,}"
            f" bytes, and {LARGEST_BODY_BYTES:,} are allowed. Nothing was sent. Give the job less,"
            " or several jobs a part each.",
            path="$",
            rule="300 MB",
        )


def _key_headers(key: str | None, fingerprint: str | None) -> dict[str, str]:
    """Return what makes one job of a submission that is sent twice."""
    headers = {"Idempotency-Key": _checked_key(key or f"once-{uuid.uuid4()}")}
    if fingerprint is not None:
        headers["Idempotency-Fingerprint"] = fingerprint
    return headers


def _checked_key(key: str) -> str:
    """Return a key that can stand in a header."""
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
    """Return the refusal of a service that only runs primitives."""
    return ConfigurationError(
        f"Cannot {doing} on IBM Quantum: IBM removed custom programs from its cloud in 2024 and"
        f" runs primitives only ({', '.join(PRIMITIVES)}). {_WHERE_PROGRAMS_RUN}"
    )


def no_interim_results(doing: str) -> ConfigurationError:
    """Return the refusal of a service whose jobs publish nothing before they end."""
    return ConfigurationError(
        f"Cannot {doing} on IBM Quantum: IBM removed interim results from its cloud in 2024, along"
        f" with custom programs. {_WHERE_PROGRAMS_RUN}"
    )
