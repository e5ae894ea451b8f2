"""A Qiskit backend that simulates in this process, ideally or with the noise of a device."""

from __future__ import annotations

import contextlib
import importlib
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Self, cast

from qiskit.circuit import QuantumCircuit
from qiskit.providers import BackendV2, JobV1
from qiskit.transpiler import CouplingMap

from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError, NotFoundError
from prefect_qiskit_runtime.program import _described
from prefect_qiskit_runtime.program._compile import CircuitCompiler, binds_right
from prefect_qiskit_runtime.program._methods import (
    MPS,
    Methods,
    active_qubits,
    largest_state_vector,
    too_wide,
)
from prefect_qiskit_runtime.program.constructs import IDEAL_NAME, require_real_values
from prefect_qiskit_runtime.program.isa import require_isa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_qiskit_runtime.program.simulation import SimulationSettings

_WIDE_GATES = frozenset({"ccx", "ccz", "cswap"})
# Qubits of the ideal simulator's target. Without a number, Qiskit fails for circuits with an
# initial layout; with a million, transpiling takes 17 s.
_TARGET_QUBITS = 2000


@dataclass(frozen=True)
class Usage:
    """The circuits that a program has run so far.

    Attributes:
        circuits: How many circuits, each set of parameter values counted as one.
        shots: How many shots in all of them; an exact evaluation takes none.
        quantum_seconds: Time on a quantum device: none, as long as backends are simulators.
        simulation_methods: How the primitives have simulated circuits.
    """

    circuits: int = 0
    shots: int = 0
    quantum_seconds: float = 0.0
    simulation_methods: frozenset[str] = frozenset()


class _AllPairs(CouplingMap):
    """A map that connects all qubits. In a condition it is false, like None.

    For a map that is true, Qiskit lays circuits out on all qubits of the target.
    """

    def __bool__(self) -> bool:
        return False


class SimulatedBackend(BackendV2):
    """A backend that simulates; the primitives of `ProgramBackend` run their circuits on it.

    There are two kinds. The ideal one has no noise and connects all qubits; it takes any
    circuit. The others imitate a device, with its noise, and like the device they take only
    circuits in its instruction set: transpile first.
    """

    def __init__(self, name: str, device: Any = None) -> None:
        """Create a backend; `from_name` is the usual way.

        Args:
            name: Name of the backend.
            device: A `BackendV2` whose target and noise are imitated; None for the ideal one.
        """
        super().__init__(
            name=_described.BackendName(name),
            description="Ideal simulator" if device is None else f"Simulator of {name} with noise",
            backend_version=None if device is None else device.backend_version,
        )
        self._device = device
        self._usage = Usage()
        self._usage_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Primitives of qiskit-ibm-runtime copy their options, which hold the backend:
        # a second one would build its noise again and count what it runs for itself.
        return self

    @classmethod
    def from_name(cls, name: str) -> Self:
        """Build the backend of a name.

        Args:
            name: `aer_simulator`, or `fake_<x>` for a device snapshot of qiskit-ibm-runtime.

        Raises:
            NotFoundError: There is no such backend in this environment.
            ConfigurationError: This environment lacks qiskit-aer or qiskit-ibm-runtime.
        """
        return cls(name, None if name == IDEAL_NAME else _device_snapshot(name))

    # `Any` in what overrides BackendV2: its abstract methods look to type checkers as if they
    # returned None. Options are those of AerSimulator; a target is a Target; a run is a Job.
    @classmethod
    def _default_options(cls) -> Any:
        return _aer_simulator_class()._default_options()

    @property
    def is_ideal(self) -> bool:
        """Whether it has no noise, so that exact expectation values mean something."""
        return self._device is None and cast(Any, self.options).noise_model is None

    @property
    def imitates_device(self) -> bool:
        """Whether it takes only circuits in the instruction set of a device."""
        return self._device is not None

    @property
    def usage(self) -> Usage:
        """The circuits that have run on it so far."""
        return self._usage

    @property
    def target(self) -> Any:
        """Instructions, connections and, of a device, their errors.

        That of the ideal simulator has more qubits than a state vector can: wide circuits run
        by other methods.
        """
        return self._wide_target if self._device is None else self._device.target

    @property
    def num_qubits(self) -> Any:
        """Number of qubits of `target`: the widest circuit that it is compiled for.

        Memory for a state vector does not limit it on the ideal simulator, which runs wide
        circuits by other methods. `run` refuses a circuit that no method can simulate.
        """
        return self.target.num_qubits

    @cached_property
    def _wide_target(self) -> Any:
        """The target of the ideal simulator, with all instructions on all qubits.

        Aer's target has measurements and delays on the qubits of the largest state vector only,
        and transpiling a wider circuit for it fails in Qiskit, or ends the process.
        """
        from qiskit.transpiler import Target

        narrow = self._simulator.target
        target = Target(num_qubits=max(_TARGET_QUBITS, narrow.num_qubits), dt=narrow.dt)
        for name in narrow.operation_names:
            target.add_instruction(narrow.operation_from_name(name), name=name)
        return target

    @property
    def operation_names(self) -> list[str]:
        """Names of the instructions; of the ideal simulator, those on one and two qubits.

        `transpile` refuses a backend that has a coupling map and lists wider gates. It compiles
        for `target`, which has them all.
        """
        if self._device is not None:
            return self._device.operation_names
        return [name for name in self.target.operation_names if name not in _WIDE_GATES]

    @property
    def coupling_map(self) -> CouplingMap | None:
        """Which qubits are connected: on the ideal simulator, all of the largest state vector.

        Its other qubits are connected as well, but a list of the pairs of 2000 qubits takes
        seconds. The target of the ideal simulator says None for this, and
        `AerSimulator.from_backend`, with which Aer's primitives take a backend, needs the pairs.
        Before Qiskit 2.0 it is None here as well: there `transpile` compiles for both the map and
        the target, and its levels 2 and 3 fail if only one of them has pairs (measured with 0.45,
        1.0 to 1.4). With `basis_gates=`, these levels of Qiskit 2.3 compile for the map alone, so
        they fail for circuits that are wider than a state vector.
        """
        if self._device is not None:
            return self._device.coupling_map
        if _qiskit_is_before_2():
            return None
        return _AllPairs(list(permutations(range(self._simulator.target.num_qubits), 2)))

    @property
    def max_circuits(self) -> None:
        """How many circuits one call of `run` takes: any number."""
        return

    @property
    def dtm(self) -> Any:
        """Time resolution of readout signals in seconds; None if it is not known."""
        return getattr(self._device, "dtm", None)

    @property
    def meas_map(self) -> Any:
        """Groups of qubits that are measured together; None if they are not known."""
        return getattr(self._device, "meas_map", None)

    def configuration(self) -> Any:
        """Return the configuration, as programs written for older backends request it."""
        if self._device is None:
            return _described.simulator_configuration(self._simulator, self.num_qubits)
        configuration = _described.device_configuration(self._device)
        configuration.backend_name = str(self.name)
        return configuration

    def properties(self, refresh: bool = False, datetime: Any = None) -> Any:  # noqa: ARG002
        """Return the calibration of the imitated device; None for the ideal simulator.

        Args:
            refresh: No effect, because a snapshot does not change.
            datetime: No effect, because there is one snapshot.
        """
        if self._device is None:
            return None
        properties = _described.device_properties(self._device)
        if properties is not None:
            properties.backend_name = str(self.name)
        return properties

    def defaults(self, refresh: bool = False) -> Any:  # noqa: ARG002
        """Return the pulse defaults of the imitated device, in images whose Qiskit has pulses.

        Returns:
            None for the ideal simulator, for devices without pulses, and with Qiskit from 2.0 on.
        """
        return None if self._device is None else _described.device_defaults(self._device)

    def status(self) -> Any:
        """Return the status: in operation, without jobs that wait."""
        return _described.status_of(self)

    def run(self, run_input: QuantumCircuit | Sequence[QuantumCircuit], **options: Any) -> Any:
        """Run circuits.

        Args:
            run_input: A circuit or several.
            options: Options of this run, as AerSimulator has them: `shots` (1024 unless set),
                `seed_simulator`, `memory`, `parameter_binds`, `method` and others.

        Returns:
            A job of Qiskit; its `result()` waits.

        Raises:
            InvalidInputError: A circuit is not in the instruction set of the imitated device, or a
                parameter value is complex.
        """
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        if not circuits:
            raise InvalidInputError(
                "backend.run was given no circuit.", rule="one or more circuits"
            )
        if self._device is not None:
            for circuit in circuits:
                require_isa(circuit, self.target, str(self.name))
        given = [_memory_of(circuit) for circuit in circuits]
        circuits = [self.compiler.compiled(circuit) for circuit in circuits]
        run_options = {**self._changed_options(), **options}
        shots = run_options.get("shots") or self._default_options().shots
        binds = run_options.get("parameter_binds")
        for columns in binds or ():
            require_real_values(columns)
        counts = list(map(_bind_count, binds)) if binds else [1] * len(circuits)
        job = self._started(circuits, run_options)
        self._count(circuits=sum(counts), shots=sum(counts) * shots)
        if given == [_memory_of(circuit) for circuit in circuits]:
            return job
        return NarrowedJob(
            job, [memory for memory, n in zip(given, counts, strict=True) for _ in range(n)]
        )

    @property
    def compiler(self) -> CircuitCompiler:
        """Makes of circuits what the simulator runs."""
        has_noise_model = self._device is None and not self.is_ideal
        return self._noisy_compiler if has_noise_model else self._compiler

    @cached_property
    def _compiler(self) -> CircuitCompiler:
        return CircuitCompiler(self._simulator, translate=self._device is None)

    @cached_property
    def _noisy_compiler(self) -> CircuitCompiler:
        return CircuitCompiler(self._simulator, noisy=True)

    @cached_property
    def _simulator(self) -> Any:
        # The noise of a device with 127 qubits takes 2 s to build: only when something runs.
        simulator = _aer_simulator_class()
        return simulator() if self._device is None else simulator.from_backend(self._device)

    @cached_property
    def _methods(self) -> Methods:
        return Methods(self._simulator)

    def use_simulation(self, settings: SimulationSettings) -> None:
        """Set the options of the simulator to these settings; those with a default stay."""
        self.set_options(**settings.of_simulator)

    @property
    def method(self) -> str:
        """The simulation method that was chosen, or "automatic"."""
        return cast(Any, self.options).method or "automatic"

    @property
    def draws_from_states(self) -> bool:
        """Whether results may come from a state vector, by the chosen method."""
        return self.method in {"automatic", "statevector"}

    def limits_bonds(self, methods: set[str]) -> bool:
        """Return whether results of these methods are cut off by a limit of the options."""
        limits = {
            "matrix_product_state_max_bond_dimension",
            "matrix_product_state_truncation_threshold",
        }
        return MPS in methods and not limits.isdisjoint(self._changed_options())

    def record_methods(self, methods: set[str]) -> None:
        """Add methods to those of `usage`."""
        with self._usage_lock:
            used = self._usage.simulation_methods | methods
            self._usage = replace(self._usage, simulation_methods=used)

    def describe_simulation(self, circuit: QuantumCircuit, methods: set[str]) -> dict[str, Any]:
        """Return the metadata of a result: its methods, and notes on them."""
        notes = []
        options = self._changed_options()
        if self.method == "automatic" and MPS in methods:
            width = len(active_qubits(circuit))
            notes.append(
                f"Simulated as a matrix product state, because {too_wide(width, options)}."
            )
        if self.limits_bonds(methods):
            notes.append(
                "The bonds of the matrix product state are limited: a state with more "
                "entanglement is cut off, so the result may differ from that of the circuit."
            )
        return {"simulation_methods": sorted(methods), **({"notes": notes} if notes else {})}

    def fits_state_vector(self, num_qubits: int) -> bool:
        """Return whether memory can hold the state vector of this many qubits."""
        return num_qubits <= largest_state_vector(self._changed_options())

    def _run_exactly(self, circuits: list[QuantumCircuit], **options: Any) -> Any:
        """Run circuits with save instructions, which take no shots."""
        binds = options.get("parameter_binds")
        self._count(circuits=sum(map(_bind_count, binds)) if binds else len(circuits), shots=0)
        options = {**self._changed_options(), **options, "shots": 1}
        return self._started(circuits, options).result()

    def _started(self, circuits: list[QuantumCircuit], options: dict[str, Any]) -> Any:
        """Start compiled circuits; a parameter that the simulator would not bind is bound here."""
        binds = options.get("parameter_binds")
        keeps_binds = binds_right(circuits) and (not binds or _have_all(circuits, binds))
        return self._methods.start(circuits, options, keeps_binds=keeps_binds)

    def _count(self, *, circuits: int, shots: int) -> None:
        with self._usage_lock:
            before = self._usage
            self._usage = replace(
                before, circuits=before.circuits + circuits, shots=before.shots + shots
            )

    def _changed_options(self) -> dict[str, Any]:
        defaults, options = self._default_options(), cast(Any, self.options)
        return {
            name: value
            for name, value in options.items()
            if value is not defaults.get(name) and value != defaults.get(name)
        }


def _have_all(circuits: list[QuantumCircuit], binds: Any) -> bool:
    """Return whether circuits have all bound parameters.

    Compiling loses those in code that never runs, and the simulator then returns a single result.
    """
    pairs = zip(circuits, binds, strict=False)
    return all(set(columns) <= set(circuit.parameters) for circuit, columns in pairs)


class NarrowedJob(JobV1):
    """A job of the simulator whose circuits have bits for variables after their own.

    Those bits are 0 at the end. Headers of the result say how wide outcomes are, so without them
    outcomes are as wide as the circuits that were given.
    """

    def __init__(self, job: Any, given: list[tuple[int, int]]) -> None:
        """Wrap a job.

        Args:
            job: Of the simulator.
            given: Of each circuit that it runs, how many classical bits and registers it was
                given with.
        """
        super().__init__(job.backend(), job.job_id())
        self._job = job
        self._given = given

    def submit(self) -> None:
        """Do nothing: the simulator has started."""

    def status(self) -> Any:
        """Return the status of the simulation."""
        return self._job.status()

    def cancel(self) -> Any:
        """Cancel the simulation if it waits."""
        return self._job.cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the simulation and return its result."""
        result = self._job.result(timeout=timeout)
        for experiment, (width, registers) in zip(result.results, self._given, strict=False):
            if not experiment.success:  # it has no header
                continue
            header = experiment.header
            sizes = header["creg_sizes"] if isinstance(header, dict) else header.creg_sizes
            changes = {"memory_slots": width, "creg_sizes": sizes[:registers]}
            if isinstance(header, dict):
                header.update(changes)
            else:  # before Qiskit 2.0
                vars(header).update(changes)
        return result


def _qiskit_is_before_2() -> bool:
    import qiskit

    return int(qiskit.__version__.partition(".")[0]) < 2


def _memory_of(circuit: QuantumCircuit) -> tuple[int, int]:
    return circuit.num_clbits, len(circuit.cregs)


def _bind_count(bind: dict[Any, Any]) -> int:
    for values in bind.values():
        return len(values) if hasattr(values, "__len__") else 1
    return 1


def _aer_simulator_class() -> Any:
    try:
        from qiskit_aer import AerSimulator
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            "Backends of programs simulate with qiskit-aer, which this environment (image) does "
            "not have: install qiskit-aer in it."
        ) from exc
    return AerSimulator


def _device_snapshot(name: str) -> Any:
    providers = _fake_providers()
    if not providers:
        raise ConfigurationError(
            f"Backend {name!r} is a device snapshot of qiskit-ibm-runtime, which this environment "
            "(image) does not have: install qiskit-ibm-runtime in it."
        )
    for provider in providers:
        for candidate in vars(provider).values():
            # Class names differ (FakeManilaV2, FakeSherbrooke), the backend's own name does not.
            # Before Qiskit 1.0, FakeManila with that name is of another version.
            if (
                isinstance(candidate, type)
                and issubclass(candidate, BackendV2)
                and getattr(candidate, "backend_name", None) == name
            ):
                # qiskit-ibm-runtime 0.15 has the classes, and not the files that they read.
                with contextlib.suppress(FileNotFoundError):
                    return candidate()
    raise NotFoundError(
        f"There is no backend {name!r} in this environment: {IDEAL_NAME}, or fake_<device> for a "
        "snapshot of qiskit_ibm_runtime.fake_provider.",
        kind="backend",
        identifier=name,
    )


def _fake_providers() -> list[Any]:
    """Return the modules with device snapshots; before Qiskit 1.0 it had them itself."""
    found = []
    for home in ("qiskit_ibm_runtime.fake_provider", "qiskit.providers.fake_provider"):
        with contextlib.suppress(ModuleNotFoundError):
            found.append(importlib.import_module(home))
    return found
