"""The backend of a program that runs on a quantum device, through its broker."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, cast

from qiskit.circuit import QuantumCircuit
from qiskit.primitives import BaseEstimatorV2, BasePrimitiveJob, BaseSamplerV2, PrimitiveResult
from qiskit.primitives.containers import BitArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import JobStatus, JobV1, Options
from qiskit.result import Result

from prefect_qiskit_runtime import codec
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.codec.delays import in_dt, with_circuit
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.program._backend import ProgramBackend
from prefect_qiskit_runtime.program._hardware_pipe import HardwarePipe
from prefect_qiskit_runtime.program.constructs import require_precision, require_result_names
from prefect_qiskit_runtime.program.isa import require_isa, require_registers

_DEFAULT_SHOTS = 4096
_RUN_OPTIONS = frozenset({"shots", "memory", "seed_simulator"})


class HardwareBackend(ProgramBackend):
    """A quantum device, as seen by a program.

    It is a `ProgramBackend`: `run`, `sampler()` and `estimator()` send their circuits to the
    device, all in one session, and require circuits in its instruction set. `transpile` and pass
    managers compile for it. Its results are never exact, and seeds have no effect.
    """

    def __init__(self, name: str, device: Any, pipe: HardwarePipe) -> None:
        """Create a backend; called by the runner."""
        super().__init__(name, device)
        self.description = f"Quantum device {name}"
        self._pipe = pipe

    def __repr__(self) -> str:
        return f"HardwareBackend({self.name!r})"

    @classmethod
    def behind(cls, descriptor: int, name: str) -> HardwareBackend:
        """Build the backend of a device behind a broker.

        Args:
            descriptor: The program's end of the pipe to the broker.
            name: Name of the device.

        Raises:
            NotFoundError: The device does not exist.
            AuthenticationError: The credentials were refused.
            ConfigurationError: This environment lacks qiskit-ibm-runtime.
        """
        pipe = HardwarePipe(descriptor)
        return cls(name, _Device(json.loads(pipe.ask("device").result())), pipe)

    @classmethod
    def _default_options(cls) -> Any:
        return Options(shots=_DEFAULT_SHOTS, memory=False)

    def run(self, run_input: QuantumCircuit | Sequence[QuantumCircuit], **options: Any) -> Any:
        """Sample circuits on the device.

        Args:
            run_input: A circuit or several, in the instruction set of the device, measured into
                classical registers.
            options: `shots` (4096 unless set) and `memory`. Seeds have no effect.

        Returns:
            A job of Qiskit; its `result()` waits.

        Raises:
            InvalidInputError: A circuit is not in the instruction set of the device, or an option
                is not one of these.
        """
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        unknown = sorted(set(options) - _RUN_OPTIONS)
        if unknown:
            raise InvalidInputError(
                f"backend.run on the device {self.name} takes shots and memory, not"
                f" {', '.join(unknown)}.",
                path=f"$.{unknown[0]}",
                rule="shots, memory",
            )
        self._note_seed(options.get("seed_simulator"))
        settings = cast(Any, self.options)
        shots = options.get("shots") or settings.shots
        memory = bool(options.get("memory", settings.memory))
        job = self.sampler(shots=shots).run(circuits)
        return _CircuitsJob(self, cast(HardwareJob, job), circuits, memory=memory)

    def status(self) -> Any:
        """Refuse: the program's session has the device, and its queue is not visible here."""
        raise NotImplementedError(
            f"The queue of {self.name} is not visible to a program: its jobs run in a session."
        )

    def sampler(self, shots: int | None = None, seed: int | None = None) -> BaseSamplerV2:
        """Return the device's sampler.

        Args:
            shots: Shots of a PUB that specifies none; IBM's default if None.
            seed: Has no effect: measurements on a device are not reproducible.
        """
        self._note_seed(seed)
        return _HardwareSampler(self, shots)

    def estimator(
        self,
        *,
        shots: int | None = None,
        precision: float | None = None,
        seed: int | None = None,
    ) -> BaseEstimatorV2:
        """Return the device's estimator.

        Args:
            shots: Shots for each group of observables; IBM's default precision if None.
            precision: Used instead of shots.
            seed: Has no effect: measurements on a device are not reproducible.
        """
        self._note_seed(seed)
        return _HardwareEstimator(self, shots, precision)

    def _note_seed(self, seed: int | None) -> None:
        if seed is not None:
            sys.stderr.write(f"seed {seed} has no effect: {self.name} is a quantum device.\n")

    def _submit(self, primitive: Any, pubs: Sequence[Any], options: dict[str, Any]) -> HardwareJob:
        # IBM reads delays in dt only.
        scheduled = [with_circuit(pub, in_dt(pub.circuit, self.target.dt)) for pub in pubs]
        inputs = {"pubs": scheduled, **seams.primitive_inputs(primitive, options)}
        asked = {"primitive": primitive, "backend": self.name, "inputs": inputs}
        answer = self._pipe.ask(
            "run",
            codec.encode_inputs(inputs, is_for_ibm=True),
            primitive=primitive,
            fingerprint=codec.fingerprint(asked),
        )
        return HardwareJob(answer)


class HardwareJob(BasePrimitiveJob[PrimitiveResult[Any], JobStatus]):
    """A job on the device; if it still runs when the program ends, it is cancelled."""

    def __init__(self, answer: Future[bytes]) -> None:
        super().__init__(job_id=str(uuid.uuid4()))
        self._answer = answer

    def result(self) -> PrimitiveResult[Any]:
        """Wait for the result.

        Raises:
            JobError: The job has ended without a result; the class shows why.
            HardwareBudgetError: The time of the program on the device is used up.
        """
        return codec.decode(self._answer.result())

    def status(self) -> JobStatus:
        """Return the status: running, done or failed."""
        if not self._answer.done():
            return JobStatus.RUNNING
        return JobStatus.ERROR if self._failed() else JobStatus.DONE

    def done(self) -> bool:
        """Whether it has a result."""
        return self._answer.done() and not self._failed()

    def running(self) -> bool:
        """Whether it has neither a result nor an error."""
        return not self._answer.done()

    def cancelled(self) -> bool:
        """Whether it was cancelled: always False, since it is cancelled when the program ends."""
        return False

    def in_final_state(self) -> bool:
        """Whether it has ended."""
        return self._answer.done()

    def cancel(self) -> None:
        """Refuse: unfinished jobs are cancelled when the program ends."""
        raise NotImplementedError("A job on hardware is cancelled with the program that sent it.")

    def _failed(self) -> bool:
        try:
            return self._answer.exception() is not None
        except CancelledError:
            return True


class _HardwareSampler(BaseSamplerV2):
    def __init__(self, backend: HardwareBackend, shots: int | None) -> None:
        self._backend = backend
        self._shots = shots

    def run(self, pubs: Iterable[Any], *, shots: int | None = None) -> HardwareJob:
        """Sample PUBs on the device."""
        coerced = [SamplerPub.coerce(pub) for pub in pubs]
        for pub in coerced:
            require_registers(pub.circuit)
            require_result_names(pub.circuit)
            require_isa(pub.circuit, self._backend.target, str(self._backend.name))
        asked = shots or self._shots
        options = {} if asked is None else {"default_shots": asked}
        count = sum(int(pub.size) for pub in coerced)
        shots_of_all = sum(
            int(pub.size) * (pub.shots or asked or _DEFAULT_SHOTS) for pub in coerced
        )
        self._backend._count(circuits=count, shots=shots_of_all)
        return self._backend._submit("sampler", coerced, options)


class _HardwareEstimator(BaseEstimatorV2):
    def __init__(
        self, backend: HardwareBackend, shots: int | None, precision: float | None
    ) -> None:
        self._backend = backend
        self._shots = shots
        self._precision = precision

    def run(self, pubs: Iterable[Any], *, precision: float | None = None) -> HardwareJob:
        """Estimate the expectation values of PUBs on the device."""
        asked = precision or self._precision
        coerced = [EstimatorPub.coerce(pub, asked) for pub in pubs]
        for index, pub in enumerate(coerced):
            require_precision(pub.precision, f"$.pubs[{index}].precision")
            require_isa(pub.circuit, self._backend.target, str(self._backend.name))
            if pub.precision == 0:
                raise InvalidInputError(
                    f"precision=0 asks for exact values, which the device {self._backend.name}"
                    " does not have.",
                    path="$.precision",
                    rule="greater than 0",
                )
        options: dict[str, Any] = {}
        if asked is not None:
            options["default_precision"] = asked
        elif self._shots is not None:
            options["default_shots"] = self._shots
        self._backend._count(circuits=sum(int(pub.size) for pub in coerced), shots=0)
        return self._backend._submit("estimator", coerced, options)


class _CircuitsJob(JobV1):
    """Circuits passed to `backend.run`: a job of the sampler in Qiskit's older form."""

    def __init__(
        self,
        backend: HardwareBackend,
        job: HardwareJob,
        circuits: list[QuantumCircuit],
        *,
        memory: bool,
    ) -> None:
        super().__init__(backend, job.job_id())
        self._device_name = str(backend.name)
        self._device_version = str(backend.backend_version)
        self._job = job
        self._circuits = circuits
        self._memory = memory

    def submit(self) -> None:
        """Do nothing: the job was submitted when it was created."""

    def status(self) -> JobStatus:
        """Return the status: running, done or failed."""
        return self._job.status()

    def cancel(self) -> None:
        """Refuse, as `HardwareJob` does."""
        self._job.cancel()

    def result(self) -> Result:
        """Wait for the result."""
        sampled = self._job.result()
        pairs = [(circuit, sampled[index]) for index, circuit in enumerate(self._circuits)]
        return Result.from_dict(
            {
                "backend_name": self._device_name,
                "backend_version": self._device_version,
                "job_id": self.job_id(),
                "success": True,
                "results": [_experiment(circuit, one.data, self._memory) for circuit, one in pairs],
            }
        )


def _experiment(circuit: QuantumCircuit, data: Any, with_memory: bool) -> dict[str, Any]:
    """Return what a circuit measured; its registers stand side by side, the first rightmost."""
    bits = BitArray.concatenate_bits([data[register.name] for register in circuit.cregs])
    measured: dict[str, Any] = {
        "counts": {hex(value): count for value, count in bits.get_int_counts().items()}
    }
    if with_memory:
        measured["memory"] = [hex(int(text, 2)) for text in bits.get_bitstrings()]
    header = {
        "name": circuit.name,
        "creg_sizes": [[register.name, register.size] for register in circuit.cregs],
        "memory_slots": bits.num_bits,
        "metadata": circuit.metadata or {},
    }
    return {"shots": bits.num_shots, "success": True, "data": measured, "header": header}


class _Device:
    """The parts of a device that `ProgramBackend` reads from the backend it represents."""

    def __init__(self, raw: dict[str, Any]) -> None:
        def read(step: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return step(*arguments)
            except ModuleNotFoundError as exc:
                raise ConfigurationError(
                    "Devices of IBM are described by qiskit-ibm-runtime, which this environment"
                    " (image) does not have: install it there."
                ) from exc

        self._configuration = read(seams.backend_configuration, raw["configuration"])
        self._properties = read(seams.backend_properties, raw["properties"], raw["configuration"])
        self.target = read(seams.backend_target, self._configuration, self._properties)
        self.operation_names = list(self.target.operation_names)
        self.coupling_map = self.target.build_coupling_map()
        self.backend_version = raw["configuration"].get("backend_version")

    def configuration(self) -> Any:
        return self._configuration

    def properties(self) -> Any:
        return self._properties
