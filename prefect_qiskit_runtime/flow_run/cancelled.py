"""Stop the runs below a cancelled flow run before they submit jobs.

When a flow run is cancelled, Prefect ends its process. Other runs below it continue for a while: a
child that `run_deployment` started has a separate process, which Prefect cancels up to a minute
later, and until then its retries would submit the cancelled jobs again. So each submission is
preceded by a look at the states of the flow runs around it, and a run below a cancelled one ends as
Cancelled. States are read again only if the last look is too old: see `require_not_cancelled`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import Cancelled, Cancelling

from prefect_qiskit_runtime.client import settings_of_environment
from prefect_qiskit_runtime.errors import FlowRunCancelledError
from prefect_qiskit_runtime.flow_run.lineage import Lineage, lineage_here
from prefect_qiskit_runtime.flow_run.logger import logger_here

_CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)
_GAVE_UP_LABEL = "qiskit-runtime.jobs-cancelled"
_ASK_SECONDS = 10.0  # Prefect's client repeats its requests for minutes


class _Observations:
    """When this process last saw that flow runs were not cancelled; old entries are removed.

    An entry is a run's id with a number: 0 for a flow run, or the number of a repeated start,
    before which an observation says nothing about the reason for the repetition.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen_at: dict[tuple[str, int], float] = {}

    def add(self, entries: Iterable[tuple[str, int]], interval_seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._seen_at = {
                entry: seen_at
                for entry, seen_at in self._seen_at.items()
                if now - seen_at < interval_seconds
            }
            self._seen_at.update(dict.fromkeys(entries, now))

    def have(self, entries: Iterable[tuple[str, int]], interval_seconds: float) -> bool:
        oldest = time.monotonic() - interval_seconds
        with self._lock:
            return all(self._seen_at.get(entry, oldest) > oldest for entry in entries)

    def remove(self, flow_run_id: UUID) -> None:
        with self._lock:
            self._seen_at.pop((str(flow_run_id), 0), None)


_observations = _Observations()


def note_state(flow_run: FlowRun, interval_seconds: float) -> bool:
    """Note the state of a flow run that was just read; return whether it is cancelled."""
    if is_cancelled(flow_run):
        _observations.remove(flow_run.id)
        return True
    _observations.add([(str(flow_run.id), 0)], interval_seconds)
    return False


def is_cancelled(flow_run: FlowRun) -> bool:
    """Return whether a flow run is Cancelling or Cancelled, or has crashed and gave up its jobs."""
    if flow_run.state is None:
        return False
    gave_up = flow_run.labels.get(_GAVE_UP_LABEL) == flow_run.run_count
    return flow_run.state.type in _CANCELLED or (flow_run.state.is_crashed() and gave_up)


def cancel_reason(flow_run: FlowRun) -> str:
    """Return the reason for cancelling what runs below a flow run, as the end of a sentence."""
    has_crashed = flow_run.state is not None and flow_run.state.is_crashed()
    return f"flow run {flow_run.name!r} {'has crashed' if has_crashed else 'was cancelled'}"


async def note_jobs_given_up(client: PrefectClient, flow_run: FlowRun) -> None:
    """Note on a crashed flow run that its jobs are cancelled, until it is started again."""
    await client.update_flow_run_labels(flow_run.id, {_GAVE_UP_LABEL: flow_run.run_count})


async def require_not_cancelled(lineage: Lineage | None, *, look_again: bool = False) -> None:
    """End this run as Cancelled if a flow run around it is cancelled; call it before a submission.

    The states are read in one request. There is none if this process has read them within the
    interval in which waiting calls read them, or if the root flow run has started within that
    time. Retries need a look since their start, because a cancelled job may be their reason.

    Args:
        lineage: The place of the call in its flow run.
        look_again: Whether the last look is too old in any case.

    Raises:
        prefect.exceptions.Abort: A flow run is cancelled. It ends the run; do not catch it.
        FlowRunCancelledError: The same in another process than that of the flow, which an `Abort`
            would end without a message to the flow.
    """
    if lineage is None or not lineage.flow_runs:
        return
    interval_seconds = settings_of_environment().flow_state_interval_seconds
    entries = _entries(lineage, interval_seconds)
    if look_again or not _observations.have(entries, interval_seconds):
        await _look(lineage, "Nothing is submitted", interval_seconds)


async def end_if_cancelled(what: str) -> None:
    """End this run as Cancelled if a flow run around it is cancelled; call it after a lost job.

    Args:
        what: The event, as the beginning of a sentence: "Job x was cancelled".

    Raises:
        prefect.exceptions.Abort: As in `require_not_cancelled`.
        FlowRunCancelledError: As in `require_not_cancelled`.
    """
    lineage = await lineage_here(None)
    if lineage is not None and lineage.flow_runs:
        await _look(lineage, what, settings_of_environment().flow_state_interval_seconds)


def _entries(lineage: Lineage, interval_seconds: float) -> list[tuple[str, int]]:
    """Return the observations that a call needs."""
    tasks = [(run.run_id, run.run_count) for run in lineage.task_runs if run.run_count > 1]
    if len(lineage.flow_runs) == 1 and _has_just_started(interval_seconds):
        return tasks  # Prefect does not start a cancelled flow run
    flows = [(run.run_id, 0) for run in lineage.flow_runs]
    repeated = [(run.run_id, run.run_count) for run in lineage.flow_runs if run.run_count > 1]
    return [*flows, *repeated, *tasks]


def _has_just_started(interval_seconds: float) -> bool:
    context = FlowRunContext.get()
    state = None if context is None or context.flow_run is None else context.flow_run.state
    if state is None or not state.is_running():
        return False
    age_seconds = (datetime.now(UTC) - state.timestamp).total_seconds()
    return 0 <= age_seconds < interval_seconds


async def _look(lineage: Lineage, what: str, interval_seconds: float) -> None:
    entries = _entries(lineage, 0.0)
    ids = [UUID(run.run_id) for run in lineage.flow_runs]
    try:
        async with asyncio.timeout(_ASK_SECONDS), get_client() as client:
            found = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids))
            )
    except Exception:  # noqa: BLE001 - Prefect's client raises any error: logged
        logger_here().warning(
            "Prefect's API did not say whether this flow run is cancelled. The call continues as"
            " if it is not.",
            exc_info=True,
        )
        return
    # The innermost first. A flow run that was deleted is not among them.
    around = sorted(found, key=lambda flow_run: ids.index(flow_run.id))
    cancelled = [flow_run for flow_run in around if note_state(flow_run, interval_seconds)]
    if not cancelled:
        _observations.add(entries, interval_seconds)
        return
    reason = cancel_reason(cancelled[-1])
    logger_here().warning("%s, because %s. This run ends as Cancelled.", what, reason)
    if lineage.is_elsewhere:
        await _set_states(around, reason, Cancelling)
        raise FlowRunCancelledError(f"{what}, because {reason}.")
    await _set_states(around, reason, Cancelled)
    raise Abort(f"{what}, because {reason}.")


async def _set_states(
    around: Sequence[FlowRun], reason: str, new_state: Callable[..., State]
) -> None:
    """Set the flow runs of a process to Cancelled, because Prefect would set them to Failed.

    A flow run of a deployment is the outermost of its process. If it is Cancelling, its runner ends
    it and calls its hooks. While a flow run is Cancelling, Prefect neither retries it nor sets it
    to Failed: this is the state for a flow whose task in another process ends it by an error.
    """
    try:
        async with asyncio.timeout(_ASK_SECONDS), get_client() as client:
            for flow_run in around:
                has_runner, state = flow_run.deployment_id is not None, flow_run.state
                is_over = state is not None and state.is_final()
                may_stay = has_runner or new_state is Cancelling
                if not is_over and not (may_stay and is_cancelled(flow_run)):
                    because = new_state(message=f"It was cancelled, because {reason}.")
                    await client.set_flow_run_state(flow_run.id, because)
                if has_runner:
                    return
    except Exception:  # noqa: BLE001 - Prefect's client raises any error: logged
        logger_here().warning("A flow run could not be set to Cancelled.", exc_info=True)
