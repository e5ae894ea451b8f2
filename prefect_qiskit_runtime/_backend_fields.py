"""Fields of `RuntimeBackend` by what they are for: which backend, how circuits and options are.

All are flat and plain, so that a form can edit them; nothing here asks a service or imports qiskit.
What only a library can say of a value is said when it is used.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

LEAST_BUSY = "least_busy"
"""As the name of a backend: the one that fits and has the fewest jobs waiting."""


class ChoiceFields(BaseModel):
    """Which backends come into question."""

    fallbacks: list[str] = Field(
        default_factory=list,
        title="Fallbacks",
        description=(
            "Names of other backends, in order: where the next job of an evaluation goes when one "
            "ended with a code that says that its backend cannot run it."
        ),
    )
    min_num_qubits: int | None = Field(
        default=None,
        ge=1,
        title="Least number of qubits",
        description="For the name least_busy: one with so many qubits at least.",
    )
    simulators: Literal["any", "only", "never"] = Field(
        default="any",
        title="Simulators",
        description="For the name least_busy: whether simulators come into question.",
    )
    processor: str | None = Field(
        default=None,
        title="Processor",
        description=(
            "For the name least_busy: the family of the processor, perhaps with its revision."
        ),
        examples=["Heron", "Heron r2"],
    )
    max_queue_length: int | None = Field(
        default=None,
        ge=0,
        title="Longest queue",
        description="For the name least_busy: one for which no more jobs wait.",
    )
    max_two_qubit_error: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Largest error of two-qubit gates",
        description="For the name least_busy: the median of the last calibration is at most this.",
    )
    max_readout_error: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Largest error of measurements",
        description="For the name least_busy: the median of the last calibration is at most this.",
    )

    only_healthy: bool = Field(
        default=False,
        title="Only healthy ones",
        description=(
            "For the name least_busy: whether backends that the flow backend_health called "
            "degraded when it last looked are left out. One that it knows nothing of is not."
        ),
    )

    def choice_filters(self) -> dict[str, Any]:
        """Return what the chosen backend must fit, without what is left open."""
        fields = ChoiceFields.model_fields
        return {
            name: value
            for name, field in fields.items()
            if name != "fallbacks" and (value := getattr(self, name)) != field.default
        }


class TranspilationFields(BaseModel):
    """How circuits of primitives are transpiled."""

    transpile: bool = Field(
        default=False,
        title="Transpile circuits",
        description=(
            "Whether circuits of primitives are transpiled for the backend before they run; their "
            "observables get the layout."
        ),
    )
    optimization_level: int = Field(
        default=1,
        ge=0,
        le=3,
        title="Optimization level",
        description="How much the transpiler does, from 0 to 3.",
    )
    seed_transpiler: int = Field(
        default=0,
        ge=0,
        title="Seed of the transpiler",
        description="The same seed gives the same circuit for the same calibration.",
    )
    initial_layout: list[int] | None = Field(
        default=None,
        title="Initial layout",
        description="The qubit of the device for each qubit of the circuit; empty to choose.",
    )
    calibration_aware: bool = Field(
        default=True,
        title="Layout by calibration",
        description="Whether qubits are chosen by the errors of the calibration.",
    )
    calibration_id: str | None = Field(
        default=None,
        title="Calibration",
        description=(
            "Id of the calibration that circuits are transpiled for and run with; empty for the "
            "newest. IBM Quantum only."
        ),
    )
    fractional_gates: bool = Field(
        default=False,
        title="Fractional gates",
        description=(
            "Whether circuits may have gates with any angle (rx, and rzz from 0 to pi/2), where "
            "the device has them. Not together with twirling of gates, nor with PEA and PEC."
        ),
    )

    def transpilation(self) -> dict[str, Any]:
        """Return the settings of the transpiler that are not the default ones."""
        fields = TranspilationFields.model_fields
        return {
            name: value
            for name, field in fields.items()
            if name != "transpile" and (value := getattr(self, name)) != field.default
        }


class PrimitiveFields(BaseModel):
    """Options of primitives where a call names none."""

    default_shots: int | None = Field(
        default=None,
        ge=1,
        title="Shots",
        description="Of primitives, where neither the PUB nor the call names any.",
    )
    default_precision: float | None = Field(
        default=None,
        gt=0,
        title="Precision",
        description="Of the estimator, where neither the PUB nor the call names shots or one.",
    )
    resilience_level: int | None = Field(
        default=None,
        ge=0,
        le=2,
        title="Resilience level",
        description="How much the estimator does against errors, from 0 to 2; empty for IBM's 1.",
    )
    twirl_gates: bool | None = Field(
        default=None,
        title="Twirl gates",
        description="Whether two-qubit gates are twirled; empty for the primitive's default.",
    )
    twirl_measurements: bool | None = Field(
        default=None,
        title="Twirl measurements",
        description="Whether measurements are twirled; empty for the primitive's default.",
    )
    dynamical_decoupling: Literal["XX", "XpXm", "XY4"] | None = Field(
        default=None,
        title="Dynamical decoupling",
        description="Pulses that qubits get while they wait; empty for none.",
    )
    sampler_options: dict[str, Any] = Field(
        default_factory=dict,
        title="Further options of the sampler",
        description="In the form of qiskit-ibm-runtime's SamplerOptions.",
        examples=[{"execution": {"rep_delay": 0.0005}}],
    )
    estimator_options: dict[str, Any] = Field(
        default_factory=dict,
        title="Further options of the estimator",
        description="In the form of qiskit-ibm-runtime's EstimatorOptions.",
        examples=[{"resilience": {"zne_mitigation": True}}],
    )

    def primitive_options(self, primitive: str) -> dict[str, Any]:
        """Return the options of a primitive, in the form of qiskit-ibm-runtime."""
        if primitive == "executor":
            return {}
        options: dict[str, Any] = {"default_shots": self.default_shots}
        if primitive == "estimator":
            options["default_precision"] = self.default_precision
            options["resilience_level"] = self.resilience_level
        twirling = {
            "enable_gates": self.twirl_gates,
            "enable_measure": self.twirl_measurements,
        }
        options["twirling"] = {name: on for name, on in twirling.items() if on is not None}
        if self.dynamical_decoupling is not None:
            options["dynamical_decoupling"] = {
                "enable": True,
                "sequence_type": self.dynamical_decoupling,
            }
        set_here = {name: value for name, value in options.items() if value not in (None, {})}
        further = self.sampler_options if primitive == "sampler" else self.estimator_options
        return laid_over(set_here, further)


def laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return nested options with those of `above` in place of those of `below`."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[name] = laid_over(under, value)
        else:
            merged[name] = value
    return merged
