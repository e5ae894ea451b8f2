"""The synchronous twins of `RuntimeClient` and its jobs, derived from them to stay identical.

Each client has an event loop in a separate thread; a call submits its coroutine and waits.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from anyio import to_thread

from prefect_qiskit_runtime.client._backends import RuntimeClientBackend
from prefect_qiskit_runtime.client._connected import Channel
from prefect_qiskit_runtime.client._delivery import Deliveries, InterimCallback
from prefect_qiskit_runtime.client._jobs import JobFacts, KnownJob, RuntimeClientJob
from prefect_qiskit_runtime.client._proxies import ProxiesLike
from prefect_qiskit_runtime.client._runtime import RuntimeClient
from prefect_qiskit_runtime.client._sessions import RuntimeClientSession
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.codec import ResultDecoderLike
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import SessionMode
from prefect_qiskit_runtime.settings import Settings
from prefect_qiskit_runtime.twins.ahead import batches
from prefect_qiskit_runtime.twins.sync import Handover, LoopThread

if TYPE_CHECKING:
    from qiskit.transpiler import Target


S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


class _Twin(Generic[S]):
    """An object whose methods wait for those of an asynchronous one.

    Args:
        client: The client whose loop runs the calls.
        original: The asynchronous object.
    """

    def __init__(self, client: SyncRuntimeClient, original: S) -> None:
        self._client = client
        self._original = original

    def __repr__(self) -> str:
        return f"Sync{self._original!r}"


Asking = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]
Waiting = Callable[Concatenate[_Twin[S], P], T]


@overload
def twin(method: Asking[S, P, RuntimeClientJob]) -> Waiting[S, P, SyncRuntimeClientJob]: ...
@overload
def twin(
    method: Asking[S, P, list[RuntimeClientJob]],
) -> Waiting[S, P, list[SyncRuntimeClientJob]]: ...
@overload
def twin(
    method: Asking[S, P, RuntimeClientBackend],
) -> Waiting[S, P, SyncRuntimeClientBackend]: ...
@overload
def twin(
    method: Asking[S, P, list[RuntimeClientBackend]],
) -> Waiting[S, P, list[SyncRuntimeClientBackend]]: ...
@overload
def twin(
    method: Asking[S, P, RuntimeClientSession],
) -> Waiting[S, P, SyncRuntimeClientSession]: ...
@overload
def twin(
    method: Asking[S, P, list[RuntimeClientSession]],
) -> Waiting[S, P, list[SyncRuntimeClientSession]]: ...
@overload
def twin(method: Asking[S, P, T]) -> Waiting[S, P, T]: ...
def twin(method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """Return the synchronous twin of a method; returned jobs, sessions, backends become twins."""

    @functools.wraps(method)
    def call(self: _Twin[Any], *args: Any, **kwargs: Any) -> Any:
        client = self._client
        answer = client._wait(method, self._original, *args, **kwargs)
        if isinstance(answer, list) and answer and type(answer[0]) in _TWINS:
            return [_TWINS[type(one)](client, one) for one in answer]
        kind = _TWINS.get(type(answer))
        return answer if kind is None else kind(client, answer)

    return call


class _ThreadedDeliveries(Deliveries):
    """Deliveries that call back in a thread, so that a slow callback does not block the loop."""

    def prepare(self, callback: InterimCallback) -> InterimCallback:
        async def call(job_id: str, interim: Any) -> None:
            outcome = await to_thread.run_sync(callback, job_id, interim)
            if inspect.isawaitable(outcome):
                await outcome

        return call


class _ThreadedClient(RuntimeClient):
    _deliveries_kind = _ThreadedDeliveries


class SyncRuntimeClient(_Twin[RuntimeClient]):
    """`RuntimeClient` for scripts and notebooks: the same methods, each waiting for its answer.

    Use it inside `with`, or call `open()` and `close()`. Callbacks run in a separate thread
    while the client is open. It also works inside a running event loop, as in notebooks.

    Args:
        url: As in `RuntimeClient`, like the following arguments.
        token: The user's token, or the API key.
        channel: The kind of account.
        instance: The instance to use, if there are several.
        region: Consider only instances in this region, if `instance` is None.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        proxies: The proxies to use.
        private_endpoint: Use the hosts of IBM's private network.
        settings: Home and time limits; read from the environment by default.
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
        client = _ThreadedClient(
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
        self._twin(client)

    @classmethod
    @functools.wraps(RuntimeClient.from_saved_account.__func__)
    def from_saved_account(cls, *args: Any, **kwargs: Any) -> Self:
        """Return a client with an account that Qiskit has saved; see `RuntimeClient`."""
        client = cls.__new__(cls)
        client._twin(_ThreadedClient.from_saved_account(*args, **kwargs))
        return client

    def _twin(self, client: RuntimeClient) -> None:
        super().__init__(self, client)
        self._thread: LoopThread | None = None

    def __repr__(self) -> str:
        return object.__repr__(self)

    def open(self) -> Self:
        """Connect to the service; start the embedded service if it is used and not running."""
        thread = LoopThread("qiskit-runtime-client")
        try:
            Handover(self._original.__aenter__(), thread.loop).wait()
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        return self

    def close(self) -> None:
        """Close the connection. Jobs continue."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            Handover(self._original.__aexit__(), thread.loop).wait()
        finally:
            thread.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    upload_program = twin(RuntimeClient.upload_program)
    update_program = twin(RuntimeClient.update_program)
    delete_program = twin(RuntimeClient.delete_program)
    set_program_visibility = twin(RuntimeClient.set_program_visibility)
    program = twin(RuntimeClient.program)
    programs = twin(RuntimeClient.programs)
    pprint_programs = twin(RuntimeClient.pprint_programs)
    run = twin(RuntimeClient.run)
    job = twin(RuntimeClient.job)
    jobs = twin(RuntimeClient.jobs)
    delete_job = twin(RuntimeClient.delete_job)
    open_session = twin(RuntimeClient.open_session)
    session = twin(RuntimeClient.session)
    sessions = twin(RuntimeClient.sessions)
    logout = twin(RuntimeClient.logout)
    backends = twin(RuntimeClient.backends)
    backend = twin(RuntimeClient.backend)
    get_backend = twin(RuntimeClient.get_backend)
    least_busy = twin(RuntimeClient.least_busy)
    instances = twin(RuntimeClient.instances)
    active_instance = twin(RuntimeClient.active_instance)
    active_account = twin(RuntimeClient.active_account)
    usage = twin(RuntimeClient.usage)
    save_account = staticmethod(RuntimeClient.save_account)
    saved_accounts = staticmethod(RuntimeClient.saved_accounts)
    delete_account = staticmethod(RuntimeClient.delete_account)

    def _wait(
        self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a coroutine in the loop's thread; an interrupt here cancels it there."""
        if self._thread is None:
            raise ConfigurationError(
                "The client is not open. Use it inside `with`, or call open()."
            )
        return Handover(call(*args, **kwargs), self._thread.loop).wait()


class SyncRuntimeClientJob(_Twin[RuntimeClientJob], KnownJob):
    """The synchronous twin of `RuntimeClientJob`."""

    @property
    def instance(self) -> str | None:
        """The instance that the client works in."""
        return self._original.instance

    def _known(self) -> JobFacts:
        return self._original._known()

    info = twin(RuntimeClientJob.info)
    status = twin(RuntimeClientJob.status)
    running = twin(RuntimeClientJob.running)
    done = twin(RuntimeClientJob.done)
    errored = twin(RuntimeClientJob.errored)
    cancelled = twin(RuntimeClientJob.cancelled)
    in_final_state = twin(RuntimeClientJob.in_final_state)
    inputs = twin(RuntimeClientJob.inputs)
    wait_for_final_state = twin(RuntimeClientJob.wait_for_final_state)
    result = twin(RuntimeClientJob.result)
    interim_results = twin(RuntimeClientJob.interim_results)
    cancel = twin(RuntimeClientJob.cancel)
    logs = twin(RuntimeClientJob.logs)
    metrics = twin(RuntimeClientJob.metrics)
    update_tags = twin(RuntimeClientJob.update_tags)
    error_message = twin(RuntimeClientJob.error_message)
    usage = twin(RuntimeClientJob.usage)
    usage_estimation = twin(RuntimeClientJob.usage_estimation)
    properties = twin(RuntimeClientJob.properties)
    stream_results = twin(RuntimeClientJob.stream_results)
    cancel_result_streaming = twin(RuntimeClientJob.cancel_result_streaming)

    def stream(self, from_: int = 0, decoder: ResultDecoderLike = None) -> Generator[Any]:
        """Yield the decoded interim results, beginning at number `from_`, until the job ends."""
        ready = batches(self._original.stream(from_, decoder))

        async def take() -> list[Any] | None:
            return await anext(ready, None)

        try:
            while batch := self._client._wait(take):
                yield from batch
        finally:
            self._client._wait(ready.aclose)


class SyncRuntimeClientBackend(_Twin[RuntimeClientBackend]):
    """The synchronous twin of `RuntimeClientBackend`.

    `target` is an attribute here, as Qiskit's transpiler and other code for backends expect.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._original, name)

    properties = twin(RuntimeClientBackend.properties)
    status = twin(RuntimeClientBackend.status)

    @property
    def target(self) -> Target:
        """The transpiler's target: instructions, coupling and errors."""
        return self._client._wait(self._original.target)


class SyncRuntimeClientSession(_Twin[RuntimeClientSession]):
    """The synchronous twin of `RuntimeClientSession`; a context manager that closes it.

    Attributes:
        session_id: Its id.
        backend: Name of the backend that its jobs run on.
        mode: "dedicated" or "batch".
    """

    def __init__(self, client: SyncRuntimeClient, original: RuntimeClientSession) -> None:
        super().__init__(client, original)
        self.session_id = original.session_id
        self.backend = original.backend
        self.mode: SessionMode = original.mode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._client._wait(self._original.__aexit__, *exc_info)

    run = twin(RuntimeClientSession.run)
    details = twin(RuntimeClientSession.details)
    status = twin(RuntimeClientSession.status)
    usage = twin(RuntimeClientSession.usage)
    close = twin(RuntimeClientSession.close)
    cancel = twin(RuntimeClientSession.cancel)


_TWINS: dict[type, type[_Twin[Any]]] = {
    RuntimeClientJob: SyncRuntimeClientJob,
    RuntimeClientBackend: SyncRuntimeClientBackend,
    RuntimeClientSession: SyncRuntimeClientSession,
}
