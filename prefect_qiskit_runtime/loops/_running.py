"""A running loop: its steps come from the records or from jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi, expected_seconds
from prefect_qiskit_runtime.errors import (
    ConfigurationError,
    JobSessionClosedError,
    SessionClosedError,
)
from prefect_qiskit_runtime.flow_run.lineage import loop_scope
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.loops._estimator import EstimatorMeasuring, EstimatorObjective
from prefect_qiskit_runtime.loops._function import FunctionMeasuring
from prefect_qiskit_runtime.loops._models import Ask, LoopStep, Measured
from prefect_qiskit_runtime.loops._records import LoopName, LoopRecords
from prefect_qiskit_runtime.sessions import (
    RuntimeSession,
    SessionLike,
    aruntime_batch,
    aruntime_session,
)

ObjectiveLike = EstimatorObjective | Callable[..., Any]
"""An expectation value, or a function that returns a value."""

LoopSession = RuntimeSession | Literal["session", "batch"] | str | None
"""A session that is open, or the kind to open for the loop."""

_OPEN = {"session": aruntime_session, "batch": aruntime_batch}


@dataclass(frozen=True)
class LoopSettings:
    """How a loop runs.

    Attributes:
        backend: Backend of the jobs; None for a function that chooses its own.
        name: Name of the loop within its flow run.
        durable_key: Makes the loops of all flow runs with this key one loop.
        seed: The seed of each step is derived from it and the step's number.
        session: Session or batch of the jobs.
        gradients: Whether steps may request gradients.
        replay_tolerance: How far points may be from the recorded ones.
        counts_qpu_seconds: Whether the usage of each job is requested from the service.
    """

    backend: RuntimeBackend | None
    name: str | None
    durable_key: str | None
    seed: int
    session: LoopSession
    gradients: bool
    replay_tolerance: float
    counts_qpu_seconds: bool = False


class _Measuring(Protocol):
    def evaluations(self, ask: Ask) -> int: ...

    async def measure(self, ask: Ask, *, seed: int, session: SessionLike) -> Measured: ...


class RunningLoop:
    """One loop, from its start or its replay to its end.

    Attributes:
        steps: The completed steps, including replayed ones.
        records: The records of the steps.
        replay_tolerance: How far points may be from the recorded ones.
    """

    def __init__(self, measuring: _Measuring, records: LoopRecords, settings: LoopSettings) -> None:
        self.steps: list[LoopStep] = []
        self.records = records
        self.replay_tolerance = settings.replay_tolerance
        self._measuring = measuring
        self._settings = settings
        self._stack = AsyncExitStack()
        self._session: SessionLike = None
        self._reported = False

    @classmethod
    async def of(
        cls, objective: ObjectiveLike, settings: LoopSettings, header: dict[str, Any]
    ) -> RunningLoop:
        """Find the loop's records and prepare its measurements.

        Raises:
            ConfigurationError: The objective is invalid, or has no backend.
            InvalidInputError: The objective has no gradient.
            LoopDivergedError: The loop was run with different settings before.
        """
        is_estimator = isinstance(objective, EstimatorObjective)
        problem = objective.problem if is_estimator else "function"
        described = objective.header if is_estimator else {}
        name = LoopName(settings.name, settings.durable_key, problem)
        records = await LoopRecords.of(name)
        try:
            measuring = _measuring(objective, settings, records)
            await records.check_header({**header, **described, "seed": settings.seed})
        except BaseException:
            records.give_back()
            raise
        return cls(measuring, records, settings)

    async def __aenter__(self) -> RunningLoop:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.records.give_back()
        await self._stack.__aexit__(kind, error, traceback)

    def evaluations(self, ask: Ask) -> int:
        """Return how many values of the objective a step would measure."""
        return self._measuring.evaluations(ask)

    async def is_on_record(self) -> bool:
        """Return whether the next step is already recorded."""
        return await self.records.asked(_label(len(self.steps))) is not None

    async def step(self, ask: Ask) -> LoopStep:
        """Take the next step from the records, or measure it in a job.

        Raises:
            LoopDivergedError: The records have a different step at this position.
            JobError: Its job ended without a result.
        """
        index = len(self.steps)
        step = await self._do(_label(index), index, ask, [self._settings.seed, index])
        self.steps.append(step)
        return step

    async def final(self, point: Any) -> LoopStep:
        """Measure the final point, separately from the steps, which a longer loop continues."""
        index = len(self.steps)
        return await self._do(
            f"final-{_label(index)}", index, Ask.of(point), [self._settings.seed, index, 1]
        )

    async def _do(self, label: str, index: int, ask: Ask, entropy: list[int]) -> LoopStep:
        if not np.all(np.isfinite(ask.points)):
            raise ConfigurationError(
                f"The optimizer asked in step {index} for a point whose parameters are not finite,"
                " probably because it was given values or gradients that are not finite. Nothing"
                " was submitted. Return large finite values where the objective cannot be measured."
            )
        recorded = await self.records.asked(label)
        if recorded is not None:
            self.records.check(index, ask, recorded, self.replay_tolerance)
            ask = recorded
            completed = await self.records.completed(label, index, ask)
            if completed is not None:
                return completed
        else:
            await self.records.note_asked(label, ask)
        self._report_replay()
        return await self._run_step(label, index, ask, seed=_seed(entropy))

    async def _run_step(self, label: str, index: int, ask: Ask, *, seed: int) -> LoopStep:
        scope = self.records.scope(label)
        with loop_scope(scope):
            measured = await self._measure(ask, seed)
        # NaN is not recorded: a loop that runs again must measure the step again.
        if np.any(unknown := np.isnan(measured.values)):
            point = ask.points[unknown][0].tolist()
            raise ConfigurationError(
                f"The objective was not a number (NaN) in step {index}, at {point!r:.200}. The loop"
                " stops here, because no optimizer can continue from NaN. The earlier steps are"
                " recorded."
            )
        about = {
            "evaluations": self._measuring.evaluations(ask),
            "job_ids": scope.job_ids,
            "qpu_seconds": await self._qpu_seconds(scope.job_ids),
        }
        await self.records.note_measured(label, measured, **about)
        return LoopStep(
            index=index,
            points=ask.points,
            values=measured.values,
            stds=measured.stds,
            gradient=measured.gradient,
            gradient_stds=measured.gradient_stds,
            evaluations=about["evaluations"],
            job_ids=tuple(scope.job_ids),
            qpu_seconds=about["qpu_seconds"],
            replayed=False,
        )

    async def _measure(self, ask: Ask, seed: int) -> Measured:
        """Measure a step, in a new session if the loop's session has closed."""
        try:
            return await self._measuring.measure(ask, seed=seed, session=await self._open())
        except (SessionClosedError, JobSessionClosedError) as error:
            if self._settings.session not in _OPEN:
                raise
            logger_here().warning("%s A new one is opened for the loop.", error)
            self._session = None
        return await self._measuring.measure(ask, seed=seed, session=await self._open())

    async def _open(self) -> SessionLike:
        """Return the session of the loop, which is opened at the first job, not for replays."""
        wanted, backend = self._settings.session, self._settings.backend
        if wanted not in _OPEN:
            return wanted
        assert backend is not None  # noqa: S101 - for the type checker: `_measuring` has checked
        if self._session is None:
            opened = _OPEN[str(wanted)](backend)
            self._session = await self._stack.enter_async_context(opened)
        return self._session

    async def _qpu_seconds(self, job_ids: list[str]) -> float | None:
        backend = self._settings.backend
        if not self._settings.counts_qpu_seconds or backend is None:
            return None
        async with backend.connect() as api:
            return sum([await _used_seconds(api, job_id) for job_id in job_ids])

    def _report_replay(self) -> None:
        if self.steps and not self._reported:
            replayed = sum(step.replayed for step in self.steps)
            if replayed:
                logger_here().info("The loop continues after %d steps from its records.", replayed)
        self._reported = True


def _measuring(
    objective: ObjectiveLike, settings: LoopSettings, records: LoopRecords
) -> _Measuring:
    backend = settings.backend
    if backend is None and (
        isinstance(objective, EstimatorObjective)
        or settings.session in _OPEN
        or settings.counts_qpu_seconds
    ):
        raise ConfigurationError(
            "backend is missing: EstimatorObjective, session='session' or 'batch', and"
            " max_qpu_seconds need one. Pass a RuntimeBackend, or the name of a backend of the"
            " embedded service."
        )
    if isinstance(objective, EstimatorObjective):
        assert backend is not None  # noqa: S101 - for the type checker
        return EstimatorMeasuring(objective, backend, records, settings.gradients)
    if callable(objective):
        return FunctionMeasuring(objective, settings.gradients)
    raise ConfigurationError(
        "The objective of a loop is an EstimatorObjective(ansatz, observable), or a function that"
        f" takes a point and returns its value, not {objective!r:.80}."
    )


async def _used_seconds(api: RuntimeApi, job_id: str) -> float:
    """Return the QPU time of an ended job; the expected time if it is not known yet."""
    seconds = (await api.job_metrics(job_id)).quantum_seconds
    return expected_seconds(await api.get_job(job_id)) if seconds is None else seconds


def _label(index: int) -> str:
    return f"{index:05d}"


def _seed(entropy: list[int]) -> int:
    """Return the seed of a step, which is the same whenever the step is measured."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
