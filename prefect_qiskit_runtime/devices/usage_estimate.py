"""Estimate how long a job of a primitive will hold a QPU, with the formula that IBM documents.

The formula is `<per sub-job overhead> + (rep_delay + <circuit length>) * <num executions>`, from
"Estimate usage before submitting a job" in the guide "Workload usage" (`SOURCE`, read in
November 2026), which calls it an approximation. Executions are counted as qiskit-ibm-runtime
documents its options. Values that cannot be known in advance are assumed, and the assumptions are
reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prefect_qiskit_runtime.program.primitive_options import PrimitiveName
from prefect_qiskit_runtime.renamed import old_method

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

SOURCE = "https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time"
# All from that page.
SUB_JOB_SECONDS = 2.0
REP_DELAY_SECONDS = 250e-6
TYPICAL_CIRCUIT_SECONDS = 100e-6
# Defaults of the options of qiskit-ibm-runtime, from its reference.
_SHOTS = 4096
_RESILIENCE_LEVEL = 1
_NOISE_FACTORS = (1, 3, 5)
_MEASURE_RANDOMIZATIONS = 32
_LAYERS, _LAYER_DEPTHS, _LAYER_RANDOMIZATIONS, _LAYER_SHOTS = 4, (0, 1, 2, 4, 16, 32), 32, 128
_LAYER_BASES = 9

_ONE_SUB_JOB = "The job is one sub-job; IBM divides one that is too large, for 2 s more each."


@dataclass(frozen=True)
class PubUsage:
    """QPU work of one PUB, or of one item of a quantum program.

    Attributes:
        circuits: Number of executed circuits: one for each set of parameter values and, in the
            estimator, for each group of observables that are measured together; multiplied by
            the randomizations of twirling and the noise factors.
        shots: Executions of each of these circuits.
        circuit_seconds: Average time of one execution.
    """

    circuits: int
    shots: int
    circuit_seconds: float

    @property
    def executions(self) -> int:
        """Number of circuit executions."""
        return self.circuits * self.shots


@dataclass(frozen=True)
class UsageEstimate:
    """How long a job is expected to hold a QPU. This is an estimate; the billed time may differ.

    Attributes:
        seconds: The total time.
        overhead_seconds: The fixed overhead of the job.
        rep_delay_seconds: Delay before each execution of a circuit.
        pubs: The work of each PUB.
        learning: The work of noise learning, if the options ask for mitigation.
        assumptions: The assumptions behind the estimate, in sentences.
    """

    seconds: float
    overhead_seconds: float
    rep_delay_seconds: float
    pubs: tuple[PubUsage, ...]
    learning: tuple[PubUsage, ...] = ()
    assumptions: tuple[str, ...] = ()

    @property
    def executions(self) -> int:
        """Number of circuit executions, including noise learning."""
        return sum(part.executions for part in (*self.pubs, *self.learning))

    @classmethod
    def combine(cls, estimates: Sequence[UsageEstimate]) -> UsageEstimate:
        """Add up the estimates of several jobs."""
        return cls(
            seconds=sum(one.seconds for one in estimates),
            overhead_seconds=sum(one.overhead_seconds for one in estimates),
            rep_delay_seconds=estimates[0].rep_delay_seconds,
            pubs=tuple(pub for one in estimates for pub in one.pubs),
            learning=tuple(part for one in estimates for part in one.learning),
            assumptions=tuple(dict.fromkeys(text for one in estimates for text in one.assumptions)),
        )

    of_jobs = classmethod(old_method("of_jobs", "combine"))


def estimate_usage(
    primitive: Literal["sampler", "estimator"],
    pubs: Iterable[Any],
    options: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    default_rep_delay_seconds: float = REP_DELAY_SECONDS,
) -> UsageEstimate:
    """Estimate how long a job of the sampler or the estimator holds a QPU.

    Args:
        primitive: The primitive.
        pubs: `SamplerPub` or `EstimatorPub`, with circuits in the instruction set of the target.
        options: Options of the primitive in the form of qiskit-ibm-runtime, as a mapping.
        target: Target of the device, with the durations of its instructions. Without a target,
            each circuit is assumed to take IBM's typical 100 microseconds.
        default_rep_delay_seconds: The device's delay, for options that name none.
    """
    asked = _Asked.from_options(primitive, options or {})
    lengths = _CircuitLengths(target)
    parts = [asked.pub_usage(pub, lengths) for pub in pubs]
    learning = tuple(asked.learning(parts))
    return _estimate(
        parts,
        _get(options or {}, "execution.rep_delay", default_rep_delay_seconds),
        learning=learning,
        assumptions=(*lengths.assumptions, *asked.assumptions()),
    )


def estimate_program_usage(
    program: Any,
    options: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    default_rep_delay_seconds: float = REP_DELAY_SECONDS,
) -> UsageEstimate:
    """Estimate how long a job of the executor holds a QPU.

    Args:
        program: A `QuantumProgram`.
        options: As in `estimate_usage`.
        target: As in `estimate_usage`.
        default_rep_delay_seconds: As in `estimate_usage`.
    """
    lengths = _CircuitLengths(target)
    parts = [
        PubUsage(math.prod(item.shape), program.shots, lengths.circuit_seconds(item.circuit))
        for item in program.items
    ]
    rep_delay = _get(options or {}, "execution.rep_delay", default_rep_delay_seconds)
    return _estimate(parts, rep_delay, assumptions=lengths.assumptions)


def _estimate(
    parts: Iterable[PubUsage],
    rep_delay: float,
    *,
    learning: tuple[PubUsage, ...] = (),
    assumptions: Iterable[str] = (),
) -> UsageEstimate:
    parts = tuple(parts)
    seconds = SUB_JOB_SECONDS + sum(
        (rep_delay + part.circuit_seconds) * part.executions for part in (*parts, *learning)
    )
    return UsageEstimate(
        seconds=seconds,
        overhead_seconds=SUB_JOB_SECONDS,
        rep_delay_seconds=rep_delay,
        pubs=parts,
        learning=learning,
        assumptions=(_ONE_SUB_JOB, *assumptions),
    )


class _CircuitLengths:
    """The durations of circuits on a device, and the assumptions behind them."""

    def __init__(self, target: Target | None) -> None:
        self._target = target
        self.assumptions: list[str] = []

    def circuit_seconds(self, circuit: QuantumCircuit) -> float:
        """Return the duration of a circuit in seconds."""
        from qiskit.exceptions import QiskitError

        if self._target is None:
            return self._typical("The durations of the device's instructions are unknown.")
        try:
            return float(circuit.estimate_duration(self._target))
        except (QiskitError, KeyError) as exc:
            fault = getattr(exc, "message", str(exc)).rstrip(".")
            return self._typical(f"The duration of circuit {circuit.name!r} is unknown: {fault}.")

    def measuring_seconds(self, circuit: QuantumCircuit) -> float:
        """Return the time to measure the qubits of a circuit that has no measurements."""
        known = {} if self._target is None else self._target.get("measure") or {}
        used = {(circuit.find_bit(bit).index,) for bit in circuit.qubits}
        durations = [
            properties.duration
            for qubits, properties in known.items()
            if qubits in used and properties is not None and properties.duration
        ]
        return max(durations, default=0.0)

    def _typical(self, why: str) -> float:
        text = f"{why} Each execution is assumed to take {TYPICAL_CIRCUIT_SECONDS * 1e6:.0f} us."
        if text not in self.assumptions:
            self.assumptions.append(text)
        return TYPICAL_CIRCUIT_SECONDS


@dataclass(frozen=True)
class _Asked:
    """The options of a primitive, with the defaults of qiskit-ibm-runtime."""

    primitive: PrimitiveName
    options: Mapping[str, Any]
    level: int

    @classmethod
    def from_options(cls, primitive: PrimitiveName, options: Mapping[str, Any]) -> _Asked:
        level = _get(options, "resilience_level", _RESILIENCE_LEVEL)
        return cls(primitive, options, level if primitive == "estimator" else 0)

    @property
    def zne(self) -> bool:
        """Whether the circuits are executed with amplified noise."""
        pec = self.of_estimator("pec_mitigation", otherwise=False)
        return self.of_estimator("zne_mitigation", otherwise=self.level >= 2 and not pec)

    @property
    def learns_layers(self) -> bool:
        """Whether a noise model of layers is needed but not given."""
        pea = self.zne and _get(self.options, "resilience.zne.amplifier", "") == "pea"
        needed = pea or self.of_estimator("pec_mitigation", otherwise=False)
        return needed and not _get(self.options, "resilience.layer_noise_model", None)

    @property
    def twirls(self) -> bool:
        """Whether the shots are divided over randomized circuits."""
        by_itself = self.primitive == "estimator" and (self.level >= 1 or self.learns_layers)
        return _get(self.options, "twirling.enable_measure", by_itself) or _get(
            self.options, "twirling.enable_gates", self.learns_layers or self.level >= 2
        )

    def of_estimator(self, name: str, *, otherwise: bool) -> bool:
        """Return a resilience option, which only the estimator has."""
        return self.primitive == "estimator" and _get(self.options, f"resilience.{name}", otherwise)

    def pub_usage(self, pub: Any, lengths: _CircuitLengths) -> PubUsage:
        """Return the QPU work of one PUB."""
        seconds = lengths.circuit_seconds(pub.circuit)
        if self.primitive == "sampler":
            num_circuits = math.prod(pub.shape)
        else:
            num_circuits, seconds = self._measured(pub, seconds, lengths)
        randomizations, shots = self._randomized(*self._shots_of(pub))
        return PubUsage(num_circuits * randomizations, shots, seconds)

    def _measured(self, pub: Any, seconds: float, lengths: _CircuitLengths) -> tuple[int, float]:
        """Return the number of circuits that measure an estimator PUB, and their mean duration."""
        from prefect_qiskit_runtime.program.evaluations import Evaluations
        from prefect_qiskit_runtime.program.sampled import num_measured_circuits

        num_circuits = num_measured_circuits(Evaluations.of(pub))
        if self.zne:
            factors = _get(self.options, "resilience.zne.noise_factors", _NOISE_FACTORS)
            num_circuits *= len(factors)
            if _get(self.options, "resilience.zne.amplifier", "gate_folding") != "pea":
                seconds *= sum(factors) / len(factors)  # folding repeats the gates
        return num_circuits, seconds + lengths.measuring_seconds(pub.circuit)

    def _shots_of(self, pub: Any) -> tuple[int, bool]:
        """Return the shots of a PUB, and whether the PUB sets them, which overrides the options."""
        if self.primitive == "sampler":
            if pub.shots is not None:
                return pub.shots, True
        elif pub.precision:
            return math.ceil(1 / pub.precision**2), True
        shots = _get(self.options, "default_shots", None)
        precision = _get(self.options, "default_precision", None)
        if shots is None and precision and self.primitive == "estimator":
            shots = math.ceil(1 / precision**2)
        return shots or _SHOTS, False

    def _randomized(self, shots: int, obeyed: bool) -> tuple[int, int]:
        """Return the number of randomizations and the shots of each."""
        if not self.twirls:
            return 1, shots
        number = _get(self.options, "twirling.num_randomizations", "auto")
        each = _get(self.options, "twirling.shots_per_randomization", "auto")
        if each == "auto":
            if number != "auto":
                each = math.ceil(shots / number)
            elif self.of_estimator("pec_mitigation", otherwise=False):
                each = 64
            else:
                each = max(64, math.ceil(shots / 32))
        if number == "auto" or obeyed:
            number = math.ceil(shots / each)
        return number, each

    def learning(self, parts: list[PubUsage]) -> Iterator[PubUsage]:
        """Yield the QPU work of noise learning."""
        longest = max((part.circuit_seconds for part in parts), default=0.0)
        if self.of_estimator("measure_mitigation", otherwise=self.level >= 1):
            number = self._learning("measure", "num_randomizations", _MEASURE_RANDOMIZATIONS)
            each = self._learning("measure", "shots_per_randomization", "auto")
            if each == "auto":
                each = max((part.shots for part in parts), default=0)
            yield PubUsage(number, each, longest)
        layers = self._learning("layer", "max_layers_to_learn", _LAYERS)
        if self.learns_layers and layers:
            depths = self._learning("layer", "layer_pair_depths", _LAYER_DEPTHS)
            number = self._learning("layer", "num_randomizations", _LAYER_RANDOMIZATIONS)
            each = self._learning("layer", "shots_per_randomization", _LAYER_SHOTS)
            yield PubUsage(layers * _LAYER_BASES * len(depths) * number, each, longest)

    def _learning(self, kind: str, name: str, otherwise: Any) -> Any:
        return _get(self.options, f"resilience.{kind}_noise_learning.{name}", otherwise)

    def assumptions(self) -> Iterator[str]:
        """Yield the assumptions that were made for these options."""
        if self.of_estimator("measure_mitigation", otherwise=self.level >= 1):
            yield "Each randomization of measurement error learning takes the shots of one circuit."
        if self.learns_layers:
            layers = self._learning("layer", "max_layers_to_learn", _LAYERS)
            yield f"The noise of {layers} layers of gates is learned."
        if self.of_estimator("pec_mitigation", otherwise=False):
            yield "PEC takes more executions, depending on the learned noise: they are not counted."


def _get(options: Mapping[str, Any], path: str, otherwise: Any) -> Any:
    """Return the option at a dotted path, or `otherwise` if it is not set."""
    value: Any = options
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            return otherwise
    return value
