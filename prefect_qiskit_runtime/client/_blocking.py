"""The synchronous twins of `RuntimeClient` and its jobs, made from them so that they cannot drift.

Each client has an event loop in a thread of its own; a call hands its coroutine over and waits.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from prefect_qiskit_runtime.client._backends import RuntimeClientBackend
from prefect_qiskit_runtime.client._connected import Channel
from prefect_qiskit_runtime.client._delivery import Deliveries, InterimCallback
from prefect_qiskit_runtime.client._jobs import RuntimeClientJob
from prefect_qiskit_runtime.client._proxies import ProxiesLike
from prefect_qiskit_runtime.client._runtime import RuntimeClient
from prefect_qiskit_runtime.client._sessions import RuntimeClientSession
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.codec import ResultDecoderLike
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import SessionMode
from prefect_qiskit_runtime.settings import Settings
from prefect_qiskit_runtime.twins.ahead import batches

if TYPE_CHECKING:
    from qiskit.transpiler import Target


Answer = TypeVar("Answer")
_CLEAN_UP_SECONDS = 10.0


class Handover(Generic[Answer]):
    """One call, handed to a loop that runs in another thread.

    Not `asyncio.run_coroutine_threadsafe`, nor a portal: Ctrl-C between their handing over and
    their giving something that can be cancelled would leave the call running, and what cleans up
    after it would find it at work. Here there is something to cancel before anything runs.

    Args:
        ask: Called in the loop; gives what is awaited there.
        loop: The loop, running in another thread.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Answer]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._ask = ask
        self._loop = loop
        self._task: asyncio.Task[Answer] | None = None
        self._answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    def wait(self) -> Answer:
        """Return what the call gives; interrupted here, it is cancelled there and has ended."""
        try:
            self._loop.call_soon_threadsafe(self._start)
            return self._answer.result()
        except BaseException:
            if not self._answer.done():
                self._loop.call_soon_threadsafe(self._stop)  # after `_start`, if that was taken
                concurrent.futures.wait([self._answer], _CLEAN_UP_SECONDS)
            raise

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._hand_back)

    async def _run(self) -> Answer:
        return await self._ask()

    def _hand_back(self, task: asyncio.Task[Answer]) -> None:
        if task.cancelled():
            self._answer.set_exception(concurrent.futures.CancelledError())
        elif error := task.exception():
            self._answer.set_exception(error)
        else:
            self._answer.set_result(task.result())

    def _stop(self) -> None:
        if self._task is None:
            self._answer.set_exception(concurrent.futures.CancelledError())
        else:
            self._task.cancel()


P = ParamSpec("P")


def _of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[Answer]],
) -> Callable[Concatenate[SyncRuntimeClient, P], Answer]:
    @functools.wraps(method)
    def call(self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._wait(functools.partial(method, self._client, *args, **kwargs))

    return call


def _job_of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[RuntimeClientJob]],
) -> Callable[Concatenate[SyncRuntimeClient, P], SyncRuntimeClientJob]:
    @functools.wraps(method)
    def call(self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs) -> SyncRuntimeClientJob:
        job = self._wait(functools.partial(method, self._client, *args, **kwargs))
        return SyncRuntimeClientJob(self, job)

    return call


def _jobs_of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[list[RuntimeClientJob]]],
) -> Callable[Concatenate[SyncRuntimeClient, P], list[SyncRuntimeClientJob]]:
    @functools.wraps(method)
    def call(
        self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs
    ) -> list[SyncRuntimeClientJob]:
        jobs = self._wait(functools.partial(method, self._client, *args, **kwargs))
        return [SyncRuntimeClientJob(self, job) for job in jobs]

    return call


def _backend_of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[RuntimeClientBackend]],
) -> Callable[Concatenate[SyncRuntimeClient, P], SyncRuntimeClientBackend]:
    @functools.wraps(method)
    def call(
        self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs
    ) -> SyncRuntimeClientBackend:
        backend = self._wait(functools.partial(method, self._client, *args, **kwargs))
        return SyncRuntimeClientBackend(self, backend)

    return call


def _session_of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[RuntimeClientSession]],
) -> Callable[Concatenate[SyncRuntimeClient, P], SyncRuntimeClientSession]:
    @functools.wraps(method)
    def call(
        self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs
    ) -> SyncRuntimeClientSession:
        session = self._wait(functools.partial(method, self._client, *args, **kwargs))
        return SyncRuntimeClientSession(self, session)

    return call


def _backends_of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[list[RuntimeClientBackend]]],
) -> Callable[Concatenate[SyncRuntimeClient, P], list[SyncRuntimeClientBackend]]:
    @functools.wraps(method)
    def call(
        self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs
    ) -> list[SyncRuntimeClientBackend]:
        backends = self._wait(functools.partial(method, self._client, *args, **kwargs))
        return [SyncRuntimeClientBackend(self, backend) for backend in backends]

    return call


def _sessions_of_client(
    method: Callable[Concatenate[RuntimeClient, P], Awaitable[list[RuntimeClientSession]]],
) -> Callable[Concatenate[SyncRuntimeClient, P], list[SyncRuntimeClientSession]]:
    @functools.wraps(method)
    def call(
        self: SyncRuntimeClient, *args: P.args, **kwargs: P.kwargs
    ) -> list[SyncRuntimeClientSession]:
        sessions = self._wait(functools.partial(method, self._client, *args, **kwargs))
        return [SyncRuntimeClientSession(self, session) for session in sessions]

    return call


def _of_session(
    method: Callable[Concatenate[RuntimeClientSession, P], Awaitable[Answer]],
) -> Callable[Concatenate[SyncRuntimeClientSession, P], Answer]:
    @functools.wraps(method)
    def call(self: SyncRuntimeClientSession, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._client._wait(functools.partial(method, self._session, *args, **kwargs))

    return call


def _job_of_session(
    method: Callable[Concatenate[RuntimeClientSession, P], Awaitable[RuntimeClientJob]],
) -> Callable[Concatenate[SyncRuntimeClientSession, P], SyncRuntimeClientJob]:
    @functools.wraps(method)
    def call(
        self: SyncRuntimeClientSession, *args: P.args, **kwargs: P.kwargs
    ) -> SyncRuntimeClientJob:
        job = self._client._wait(functools.partial(method, self._session, *args, **kwargs))
        return SyncRuntimeClientJob(self._client, job)

    return call


def _of_job(
    method: Callable[Concatenate[RuntimeClientJob, P], Awaitable[Answer]],
) -> Callable[Concatenate[SyncRuntimeClientJob, P], Answer]:
    @functools.wraps(method)
    def call(self: SyncRuntimeClientJob, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._client._wait(functools.partial(method, self._job, *args, **kwargs))

    return call


class _ThreadedDeliveries(Deliveries):
    """Deliveries to callbacks that have a thread: a slow one does not hold up the loop."""

    def prepare(self, callback: InterimCallback) -> InterimCallback:
        async def call(job_id: str, interim: Any) -> None:
            outcome = await to_thread.run_sync(callback, job_id, interim)
            if inspect.isawaitable(outcome):
                await outcome

        return call


class _ThreadedClient(RuntimeClient):
    _deliveries_kind = _ThreadedDeliveries


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class SyncRuntimeClient:
    """`RuntimeClient` for scripts and notebooks: the same methods, each waiting for its answer.

    Use it inside `with`, or call `open()` and `close()`. Callbacks run in a thread of their own
    while the client is open. It works inside a running event loop too (notebooks have one).

    Args:
        url: As in `RuntimeClient`, like those that follow.
        token: The user's token, or the API key.
        channel: Which kind of account it is.
        instance: The instance to use, where there are several.
        region: Choose among the instances of this region, where none is named.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        proxies: What is asked through a proxy.
        private_endpoint: Use the hosts that IBM's private network reaches.
        settings: Home, time limits; read from the environment by default.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        channel: Channel | None = None,
        instance: str | None = None,
        region: str | None = None,
        verify: Verify = True,
        proxies: ProxiesLike = None,
        private_endpoint: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self._client = _ThreadedClient(
            url,
            token,
            channel=channel,
            instance=instance,
            region=region,
            verify=verify,
            proxies=proxies,
            private_endpoint=private_endpoint,
            settings=settings,
        )
        self._start()

    @classmethod
    @functools.wraps(RuntimeClient.from_saved_account.__func__)
    def from_saved_account(cls, *args: Any, **kwargs: Any) -> Self:
        """Return a client with an account that qiskit has saved; see `RuntimeClient`."""
        client = cls.__new__(cls)
        client._client = _ThreadedClient.from_saved_account(*args, **kwargs)
        client._start()
        return client

    def _start(self) -> None:
        self._open = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> Self:
        """Connect to the service; starts the embedded one if that is meant and needed."""
        with ExitStack() as stack:
            portal = stack.enter_context(
                start_blocking_portal("asyncio", name="qiskit-runtime-client")
            )
            stack.enter_context(portal.wrap_async_context_manager(self._client))
            self._loop, self._open = portal.call(_running_loop), stack.pop_all()
        return self

    def close(self) -> None:
        """Close the connection. Jobs go on."""
        self._loop = None
        self._open.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    upload_program = _of_client(RuntimeClient.upload_program)
    update_program = _of_client(RuntimeClient.update_program)
    delete_program = _of_client(RuntimeClient.delete_program)
    set_program_visibility = _of_client(RuntimeClient.set_program_visibility)
    program = _of_client(RuntimeClient.program)
    programs = _of_client(RuntimeClient.programs)
    pprint_programs = _of_client(RuntimeClient.pprint_programs)
    run = _job_of_client(RuntimeClient.run)
    job = _job_of_client(RuntimeClient.job)
    jobs = _jobs_of_client(RuntimeClient.jobs)
    delete_job = _of_client(RuntimeClient.delete_job)
    open_session = _session_of_client(RuntimeClient.open_session)
    session = _session_of_client(RuntimeClient.session)
    sessions = _sessions_of_client(RuntimeClient.sessions)
    logout = _of_client(RuntimeClient.logout)
    backends = _backends_of_client(RuntimeClient.backends)
    backend = _backend_of_client(RuntimeClient.backend)
    get_backend = _backend_of_client(RuntimeClient.get_backend)
    least_busy = _backend_of_client(RuntimeClient.least_busy)
    instances = _of_client(RuntimeClient.instances)
    active_instance = _of_client(RuntimeClient.active_instance)
    active_account = _of_client(RuntimeClient.active_account)
    usage = _of_client(RuntimeClient.usage)
    save_account = staticmethod(RuntimeClient.save_account)
    saved_accounts = staticmethod(RuntimeClient.saved_accounts)
    delete_account = staticmethod(RuntimeClient.delete_account)

    def _wait(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Run a coroutine in the loop's thread; interrupted here, it is cancelled there."""
        if self._loop is None:
            raise ConfigurationError(
                "The client is not open. Use it inside `with`, or call open()."
            )
        return Handover(ask, self._loop).wait()


class SyncRuntimeClientJob:
    """The synchronous twin of `RuntimeClientJob`."""

    def __init__(self, client: SyncRuntimeClient, job: RuntimeClientJob) -> None:
        self._client = client
        self._job = job

    def __repr__(self) -> str:
        return f"Sync{self._job!r}"

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self._job.job_id

    @property
    def program_id(self) -> str:
        """The program that it runs."""
        return self._job.program_id

    @property
    def backend(self) -> str:
        """The name of the backend that it runs on."""
        return self._job.backend

    @property
    def primitive_id(self) -> str:
        """The program that it runs, by the name that later clients of IBM have for it."""
        return self._job.primitive_id

    @property
    def tags(self) -> list[str]:
        """Its labels, as they were when this object last asked."""
        return self._job.tags

    @property
    def image(self) -> str | None:
        """The Python environment that it runs in; None for the service's default."""
        return self._job.image

    @property
    def session_id(self) -> str | None:
        """The session that it belongs to."""
        return self._job.session_id

    @property
    def private(self) -> bool:
        """Whether its inputs are not shown and its result is given once."""
        return self._job.private

    @property
    def creation_date(self) -> datetime | None:
        """When it was made, in local time; None if the service did not say at submission."""
        return self._job.creation_date

    @property
    def instance(self) -> str | None:
        """The instance that the client works in."""
        return self._job.instance

    info = _of_job(RuntimeClientJob.info)
    status = _of_job(RuntimeClientJob.status)
    running = _of_job(RuntimeClientJob.running)
    done = _of_job(RuntimeClientJob.done)
    errored = _of_job(RuntimeClientJob.errored)
    cancelled = _of_job(RuntimeClientJob.cancelled)
    in_final_state = _of_job(RuntimeClientJob.in_final_state)
    inputs = _of_job(RuntimeClientJob.inputs)
    wait_for_final_state = _of_job(RuntimeClientJob.wait_for_final_state)
    result = _of_job(RuntimeClientJob.result)
    interim_results = _of_job(RuntimeClientJob.interim_results)
    cancel = _of_job(RuntimeClientJob.cancel)
    logs = _of_job(RuntimeClientJob.logs)
    metrics = _of_job(RuntimeClientJob.metrics)
    update_tags = _of_job(RuntimeClientJob.update_tags)
    error_message = _of_job(RuntimeClientJob.error_message)
    usage = _of_job(RuntimeClientJob.usage)
    usage_estimation = _of_job(RuntimeClientJob.usage_estimation)
    properties = _of_job(RuntimeClientJob.properties)
    stream_results = _of_job(RuntimeClientJob.stream_results)
    cancel_result_streaming = _of_job(RuntimeClientJob.cancel_result_streaming)

    def stream(self, from_: int = 0, decoder: ResultDecoderLike = None) -> Generator[Any]:
        """Give the decoded interim results from a number on, until the job has ended."""
        ready = batches(self._job.stream(from_, decoder))
        try:
            while batch := self._client._wait(functools.partial(anext, ready, None)):
                yield from batch
        finally:
            self._client._wait(ready.aclose)


class SyncRuntimeClientBackend:
    """The synchronous twin of `RuntimeClientBackend`.

    `target` is an attribute here, as qiskit's transpiler and other code for backends expect it.
    """

    def __init__(self, client: SyncRuntimeClient, backend: RuntimeClientBackend) -> None:
        self._client = client
        self._backend = backend

    def __repr__(self) -> str:
        return f"SyncRuntimeClientBackend({self._backend.name!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._backend, name)

    @functools.wraps(RuntimeClientBackend.properties)
    def properties(self, *args: Any, **kwargs: Any) -> Any:
        """Return the calibration; see `RuntimeClientBackend`."""
        return self._client._wait(functools.partial(self._backend.properties, *args, **kwargs))

    def status(self) -> Any:
        """Ask whether it takes jobs and how many wait."""
        return self._client._wait(self._backend.status)

    @property
    def target(self) -> Target:
        """The transpiler's target: instructions, coupling and errors."""
        return self._client._wait(self._backend.target)


class SyncRuntimeClientSession:
    """The synchronous twin of `RuntimeClientSession`; a context manager that closes it."""

    def __init__(self, client: SyncRuntimeClient, session: RuntimeClientSession) -> None:
        self._client = client
        self._session = session

    def __repr__(self) -> str:
        return f"Sync{self._session!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._client._wait(functools.partial(self._session.__aexit__, *exc_info))

    @property
    def session_id(self) -> str:
        """Id of the session."""
        return self._session.session_id

    @property
    def backend(self) -> str:
        """The name of the backend that its jobs run on."""
        return self._session.backend

    @property
    def mode(self) -> SessionMode:
        """Whether it is a session ("dedicated") or a batch."""
        return self._session.mode

    run = _job_of_session(RuntimeClientSession.run)
    details = _of_session(RuntimeClientSession.details)
    status = _of_session(RuntimeClientSession.status)
    usage = _of_session(RuntimeClientSession.usage)
    close = _of_session(RuntimeClientSession.close)
    cancel = _of_session(RuntimeClientSession.cancel)
