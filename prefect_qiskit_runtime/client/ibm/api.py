"""IBM Quantum's service: its login, its hosts, and the features it supports or lacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import httpx
from pydantic import SecretStr

from prefect_qiskit_runtime.client._accounts import IbmAccount, SavedAccount, is_crn
from prefect_qiskit_runtime.client._answers import Call
from prefect_qiskit_runtime.client._api import RuntimeApi, no_interim_results, no_programs
from prefect_qiskit_runtime.client._calls import Page, job_call, read_model, read_page
from prefect_qiskit_runtime.client._instances import InstanceSearch, choose_instance
from prefect_qiskit_runtime.client._transport import Authentication, Query, Transport, open_http
from prefect_qiskit_runtime.client.ibm._login import (
    LOGIN_SECONDS,
    IamAuth,
    IamLogin,
    iam_login,
)
from prefect_qiskit_runtime.client.ibm._new_jobs import NewJobs
from prefect_qiskit_runtime.client.ibm._polling import job_poller
from prefect_qiskit_runtime.errors import (
    ConfigurationError,
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
    SessionClosedError,
)
from prefect_qiskit_runtime.models import (
    IBM_QUANTUM,
    JobInfo,
    ServiceKind,
    StreamEvent,
)
from prefect_qiskit_runtime.settings import Settings

_INVISIBLE_PAUSE_SECONDS = 1.0
"""The pause before a job that was submitted a moment ago is asked for again."""

API_VERSION = "2026-04-15"
"""The version of IBM's API that is used here, the same as in qiskit-ibm-runtime 0.51."""


class IbmApi(RuntimeApi):
    """The API of IBM Quantum; an async context manager.

    It has the methods of `RuntimeApi` with IBM's restrictions: only primitives run there, jobs
    publish no interim results, and a submission that is sent twice creates two jobs.

    Args:
        account: The key and its hosts, or the place of a saved account.
        settings: Timeouts; read from the environment by default.
    """

    kind: ClassVar[ServiceKind] = IBM_QUANTUM
    submissions_per_minute: ClassVar[int | None] = 5
    keeps_private_results: ClassVar[bool] = False

    def __init__(
        self, account: IbmAccount | SavedAccount, *, settings: Settings | None = None
    ) -> None:
        super().__init__("", "", settings=settings)
        self._source = account
        self._account: IbmAccount | None = None

    async def __aenter__(self) -> Self:
        # The file of saved accounts is read by qiskit, which takes a second or more to import.
        account = self._account = await asyncio.to_thread(self._source.read)
        self._verify, self._proxies = account.verify, account.proxies
        self._instance = await self._find_instance(account)
        self._url = account.api_url(self._instance)
        return await super().__aenter__()

    @property
    def account(self) -> IbmAccount:
        """The account in use, once the connection is open."""
        if self._account is None:
            raise ConfigurationError("The client is not open. Use it inside `async with`.")
        return self._account

    def active_account(self) -> dict[str, Any]:
        """Return the account in the form of the Qiskit Runtime services; the key stays hidden."""
        account = self.account
        return {
            "channel": account.channel,
            "token": SecretStr(account.api_key),
            "url": self.url,
            "instance": self.instance,
            "region": account.region,
            "private_endpoint": account.private_endpoint,
            "verify": account.verify,
        }

    async def request(
        self,
        call: Call,
        *,
        query: Query | None = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the answer to a call, as `RuntimeApi` does; reject calls that IBM lacks.

        A job that was submitted here and is not visible yet is asked for again until it is.
        """
        _require_offered(call)
        while True:
            try:
                response = await super().request(
                    call, query=query, content=content, headers=headers
                )
            except NotFoundError as missing:
                error = self._explained(call, missing)
                if error is missing:
                    raise
                if not (error.transient and call.waits_for_object):
                    raise error from missing
            else:
                if call.kind == "job" and call.identifier is not None:
                    self._new_jobs.forget(call.identifier)
                return response
            await asyncio.sleep(_INVISIBLE_PAUSE_SECONDS)

    def _explained(self, call: Call, missing: NotFoundError) -> NotFoundError:
        """Return the error of a 404, which may only mean that a new job is not visible yet."""
        if call.path != f"/jobs/{call.identifier}" and not call.path.endswith("/cancel"):
            return missing  # for example a result that a job does not have
        grace_seconds = self._settings.submission_grace_seconds
        return self._new_jobs.explain(missing, grace_seconds)

    @property
    def _new_jobs(self) -> NewJobs:
        return _login_of(self.account).new_jobs

    def _note_submitted(self, job_id: str) -> None:
        self._new_jobs.add(job_id)

    def stream(self, job_id: str, from_seq: int = 0) -> AsyncGenerator[StreamEvent]:  # noqa: ARG002 - IBM has no interim results
        """Follow a job: its states and its end. IBM has no stream, so it is polled.

        All jobs of an instance that this process follows are polled together.

        Raises:
            NotFoundError: The job does not exist.
            ServiceUnavailableError: IBM could not be reached for half an hour.
        """
        key = (_login_of(self.account), self.url, self.instance)
        return job_poller(key, self._for_polling).events(job_id)

    def _for_polling(self) -> IbmApi:
        """Return another connection to the same instance."""
        return IbmApi(replace(self.account, instance=self.instance), settings=self._settings)

    async def _require_open_session(self, session_id: str, refusal: QiskitRuntimeError) -> None:
        """Check the session of a refused job; IBM does not document its code for a closed session.

        Raises:
            SessionClosedError: The session accepts no more jobs.
        """
        if refusal.transient:
            return
        try:
            session = await self.get_session(session_id)
        except QiskitRuntimeError:
            return  # the caller raises the refusal
        if not session.takes_jobs:
            raise SessionClosedError(
                f"{refusal} Session {session_id} accepts no more jobs: open another.",
                session_id=session_id,
            ) from refusal

    async def pending_jobs(self, *, limit: int, offset: int) -> tuple[list[JobInfo], int | None]:
        """Return a page of the pending jobs, and their total number if known, without retries."""
        query = {"exclude_params": True, "pending": True}
        call = Call("GET", "/jobs", "list pending jobs")
        page, total = await read_page(self, call, query, Page("jobs", JobInfo, limit, offset))
        for job in page:
            self._new_jobs.forget(job.id)
        return page, total

    async def ask_job(self, job_id: str) -> JobInfo:
        """Return a job as `get_job` does, without retries."""
        call = replace(job_call("GET", job_id, "get"), waits_for_object=False)
        return read_model(call, await self.request(call, query={"exclude_params": True}), JobInfo)

    async def job_logs(self, job_id: str) -> str:
        """Return the log of a job; empty if IBM has none."""
        try:
            return await super().job_logs(job_id)
        except (NotFoundError, ProtocolError):
            await self.get_job(job_id)  # raises if it is the job that is missing
            return ""

    async def acknowledge_result(self, job_id: str) -> None:
        """Do nothing: IBM returns the result of a private job once, with no acknowledgement."""

    async def logout(self) -> None:
        """Forget the access token of this process; the next request logs in again."""
        _login_of(self.account).forget()

    def _auth(self) -> Authentication:
        return _auth_of(self.account, self._instance, self._settings)

    def _headers(self) -> dict[str, str]:
        return {**super()._headers(), "IBM-API-Version": API_VERSION}

    def _instance_search(self) -> InstanceSearch:
        return _search_of(self.account, self._settings)

    async def _find_instance(self, account: IbmAccount) -> str:
        """Return the CRN of the instance to use. It is looked up once per process and key."""
        if account.instance is not None and is_crn(account.instance):
            return account.instance
        asked = (account.instance, account.region, account.plans, account.tags)
        known = _login_of(account).crns
        if asked not in known:
            instances = await _search_of(account, self._settings).instances()
            known[asked] = choose_instance(instances, account).crn
        return known[asked]


class _CloudTransport(Transport):
    """A connection to one of IBM Cloud's services."""

    def __init__(self, url: str, account: IbmAccount, settings: Settings) -> None:
        super().__init__(url, "", verify=account.verify, proxies=account.proxies, settings=settings)
        self._account = account

    def _auth(self) -> Authentication:
        return _auth_of(self._account, None, self._settings)


def _search_of(account: IbmAccount, settings: Settings) -> InstanceSearch:
    return InstanceSearch(
        _CloudTransport(account.search_url, account, settings),
        _CloudTransport(account.catalog_url, account, settings),
    )


def _login_of(account: IbmAccount) -> IamLogin:
    return iam_login(account.iam_url, account.api_key)


def _auth_of(account: IbmAccount, instance: str | None, settings: Settings) -> IamAuth:
    def connect() -> httpx.AsyncClient:
        timeout_seconds = min(LOGIN_SECONDS, settings.request_timeout_seconds)
        return open_http(
            account.iam_url, account.verify, account.proxies, timeout_seconds=timeout_seconds
        )

    return IamAuth(_login_of(account), connect, instance)


def _require_offered(call: Call) -> None:
    if call.path.startswith("/programs"):
        raise no_programs(call.doing)
    if call.path.endswith("/interim_results"):
        raise no_interim_results(call.doing)
    if call.path.startswith("/service/"):
        raise ConfigurationError(f"Cannot {call.doing}: IBM Quantum has no such endpoint.")
