"""Lineage: the place of a call in its flow run, which stays the same when the flow runs again.

A retried task, a flow run that is retried after a crash, and a subflow that a rerun parent starts
again all repeat the same call, and must find the job that it has submitted. The ids of task runs
and subflow runs change in between, and Prefect's task keys hash the code. The id of the root flow
run, and the names and positions below it, do not change.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b32decode, b32encode
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect import Task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext

from prefect_qiskit_runtime.errors import ConfigurationError


@dataclass
class LoopScope:
    """One step of a loop.

    Attributes:
        path: Names of the loop and of the step.
        durable_key: Joins the jobs of all flow runs that run this loop.
        job_ids: The jobs that were submitted or found in this step.
    """

    path: tuple[str, ...]
    durable_key: str | None = None
    job_ids: list[str] = field(default_factory=list)


_current: ContextVar[LoopScope | None] = ContextVar("loop_scope", default=None)


@contextmanager
def loop_scope(scope: LoopScope) -> Iterator[None]:
    """Run the block in a step of a loop."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def loop_scope_here() -> LoopScope | None:
    """Return the step of a loop around this code; None outside of loops."""
    return _current.get()


def note_job(job_id: str) -> None:
    """Add a job to the step of the loop around this code."""
    scope = _current.get()
    if scope is not None and job_id not in scope.job_ids:
        scope.job_ids.append(job_id)


_OWN_MODULES = "prefect_qiskit_runtime."
_FLOW_TAG = "pqf-"
_DIGEST_CHARACTERS = 26


@dataclass(frozen=True)
class Run:
    """One start of a flow run or task run.

    Attributes:
        run_id: Its id in Prefect.
        run_count: How often it has been started so far.
        began_at: When a flow run was first started.
    """

    run_id: str
    run_count: int
    began_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Lineage:
    """The place of a call in its flow run, however often that runs.

    Attributes:
        name: The same text for the same place in the same root flow run; or the durable key.
        joins: Whether equal calls are one evaluation (with a durable key) rather than several.
        flow_runs: The flow runs around the call, the innermost first.
        task_runs: The task runs around the call, the innermost first.
        root_id: Id of the root flow run; None outside of flows.
        in_task: Whether a task of the user is around the call.
        is_elsewhere: Whether the call runs in another process than its flow.
    """

    name: str
    joins: bool
    flow_runs: tuple[Run, ...]
    task_runs: tuple[Run, ...]
    root_id: str | None
    in_task: bool = False
    is_elsewhere: bool = False

    @property
    def is_rerun(self) -> bool:
        """Whether a flow run around the call has run before."""
        return any(run.run_count > 1 for run in self.flow_runs)

    @property
    def is_first(self) -> bool:
        """Whether nothing around the call has run before, so that the call is not a repetition."""
        return not self.joins and not self.is_repeated

    @property
    def is_repeated(self) -> bool:
        """Whether something around the call has run before."""
        return any(run.run_count > 1 for run in (*self.flow_runs, *self.task_runs))

    @property
    def tag(self) -> str | None:
        """The label of all jobs of the root flow run, by which other processes find them."""
        return None if self.root_id is None else flow_tag(self.root_id)

    @property
    def tags(self) -> tuple[str, ...]:
        """The label as the tags of a job."""
        return () if self.tag is None else (self.tag,)


def flow_tag(root_flow_run_id: str | UUID) -> str:
    """Return the label of the jobs of a root flow run and of all runs below it."""
    return f"{_FLOW_TAG}{_digits(UUID(str(root_flow_run_id)).bytes)}"


def flow_run_of_tag(tag: str) -> UUID | None:
    """Return the root flow run that a tag is the label of; None for any other tag."""
    digits = tag.removeprefix(_FLOW_TAG)
    if digits == tag:
        return None
    try:
        flow_run_id = UUID(bytes=b32decode(f"{digits.upper()}======"))
    except ValueError:  # a user's tag that happens to have the same prefix
        return None
    return flow_run_id if flow_tag(flow_run_id) == tag else None


async def root_flow_run_id(flow_run: FlowRun) -> UUID:
    """Return the root above a flow run; its own id if it is the root."""
    return UUID((await _ancestry(flow_run)).root_id)


async def root_flow_run_id_here() -> UUID | None:
    """Return the root of the flow run around this code; None outside of flows."""
    flow_run = await _flow_run()
    return None if flow_run is None else await root_flow_run_id(flow_run)


def submission_key(lineage: Lineage, fingerprint: str, occurrence: int, attempt: int) -> str:
    """Return the name of one attempt of one evaluation."""
    whole = json.dumps([lineage.name, fingerprint, occurrence, attempt])
    return f"pqr-{_digits(hashlib.sha256(whole.encode()).digest())}"


def group_key(lineage: Lineage, fingerprint: str) -> str:
    """Return the name of all equal calls of one lineage."""
    whole = json.dumps([lineage.name, fingerprint])
    return f"pqg-{_digits(hashlib.sha256(whole.encode()).digest())}"


def _digits(digest: bytes) -> str:
    return b32encode(digest).decode().lower()[:_DIGEST_CHARACTERS]


async def lineage_here(durable_key: str | None) -> Lineage | None:
    """Return the lineage of the current call; None for a call that cannot be repeated.

    Args:
        durable_key: Replaces the flow run: joins equal calls inside and outside of flow runs.

    Raises:
        ConfigurationError: The durable key is not a text.
    """
    if durable_key is not None and not (isinstance(durable_key, str) and durable_key):
        raise ConfigurationError(
            f"durable_key must be a text that names the evaluation, as in 'h2-scan-0.74', not"
            f" {durable_key!r:.80}."
        )
    scope = loop_scope_here()
    in_loop = () if scope is None else scope.path
    if durable_key is None and scope is not None and scope.durable_key is not None:
        durable_key = json.dumps([scope.durable_key, *in_loop])
    flow_run = await _flow_run()
    if flow_run is None:
        if durable_key is None:
            return None
        return Lineage(_durable_name(durable_key), True, (), (), None)
    ancestry = await _ancestry(flow_run)
    tasks = list(_enclosing_tasks(flow_run.id))
    task_runs = tuple(Run(str(task.task_run.id), task.task_run.run_count) for task in tasks)
    names = [task.task.name for task in reversed(tasks) if not is_own_task(task.task)]
    own = _run_of(flow_run)
    return Lineage(
        name=json.dumps([ancestry.root_id, *ancestry.path, *names, *in_loop])
        if durable_key is None
        else _durable_name(durable_key),
        joins=durable_key is not None,
        flow_runs=(own, *ancestry.parents),
        task_runs=task_runs,
        root_id=ancestry.root_id,
        in_task=bool(names),
        is_elsewhere=_is_elsewhere(),
    )


def _is_elsewhere() -> bool:
    context = FlowRunContext.get()
    return context is None or context.detached


def _run_of(flow_run: FlowRun) -> Run:
    """Return a flow run with the number of its starts.

    Prefect does not count the starts that resume a suspended run, but it keeps a key for each
    suspension.
    """
    suspended = flow_run.empirical_policy.pause_keys or ()
    starts = flow_run.run_count + len(suspended)
    return Run(str(flow_run.id), starts, flow_run.start_time)


async def _flow_run() -> FlowRun | None:
    """Return the flow run around this code; in other processes only the task run has its id."""
    context, task = FlowRunContext.get(), TaskRunContext.get()
    if context is not None and context.flow_run is not None:
        return context.flow_run
    if task is None or task.task_run.flow_run_id is None:
        return None
    async with get_client() as client:
        return await client.read_flow_run(task.task_run.flow_run_id)


def _durable_name(durable_key: str) -> str:
    return json.dumps({"durable_key": durable_key})


@dataclass(frozen=True)
class _Ancestry:
    """The runs above a flow run, which do not change while it runs.

    Attributes:
        root_id: Id of the root flow run.
        path: Names and positions of the flow runs below the root, this one last.
        parents: The flow runs above, the nearest first.
    """

    root_id: str
    path: tuple[str, ...] = ()
    parents: tuple[Run, ...] = ()


_known: dict[UUID, _Ancestry] = {}


async def _ancestry(flow_run: FlowRun) -> _Ancestry:
    if flow_run.parent_task_run_id is None:
        return _Ancestry(str(flow_run.id))
    if flow_run.id not in _known:
        _known[flow_run.id] = await _ask_ancestry(flow_run)
    return _known[flow_run.id]


async def _ask_ancestry(flow_run: FlowRun) -> _Ancestry:
    path: list[str] = []
    parents: list[Run] = []
    async with get_client() as client:
        while flow_run.parent_task_run_id is not None:
            # This task run represents the subflow in its parent: "name-0", then "name-1", in the
            # order of the calls. In other processes the position is a random id, and is ignored.
            task_run = await client.read_task_run(flow_run.parent_task_run_id)
            position = task_run.dynamic_key
            name = task_run.name if position.isdecimal() else task_run.task_key.partition("-")[0]
            path.append(name)
            if task_run.flow_run_id is None:  # a flow called in a task outside of flows
                break
            flow_run = await client.read_flow_run(task_run.flow_run_id)
            parents.append(_run_of(flow_run))
    return _Ancestry(str(flow_run.id), tuple(reversed(path)), tuple(parents))


def _enclosing_tasks(flow_run_id: UUID) -> Iterator[TaskRunContext]:
    """Yield the contexts of the enclosing task runs of a flow run, innermost first.

    Prefect exposes only the innermost context. The one before it is in the token that Prefect got
    when it entered the innermost context, and keeps in order to leave it again.
    """
    context = TaskRunContext.get()
    given: set[UUID] = set()
    while isinstance(context, TaskRunContext) and context.task_run.flow_run_id == flow_run_id:
        if context.task_run.id not in given:  # a context is entered twice on its way to a thread
            given.add(context.task_run.id)
            yield context
        token: Any = getattr(context, "_token", None)
        context = None if token is None else token.old_value


def is_own_task(task: Task[..., Any]) -> bool:
    """Return whether a task is one of this package."""
    return str(task.fn.__module__).startswith(_OWN_MODULES)


_seen_ends: dict[str, Run] = {}


def note_end(job_id: str) -> None:
    """Record that the current flow run has seen a job end without a result."""
    run = _flow_run_here()
    if run is not None:
        _seen_ends[job_id] = run


def has_seen_end(job_id: str) -> bool:
    """Return whether the current flow run has seen the job end since its last start."""
    run = _flow_run_here()
    return run is not None and _seen_ends.get(job_id) == run


def _flow_run_here() -> Run | None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    return _run_of(context.flow_run)
