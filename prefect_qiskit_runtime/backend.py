"""The block that names the service, the backend and the options of jobs.

The service is always explicit, so no job silently runs somewhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import UUID

from prefect import get_client
from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block
from pydantic import BaseModel, Field, HttpUrl, field_validator

from prefect_qiskit_runtime.block_fields.fields import (
    LOGO_URL,
    STRICT,
    Referable,
    StrictFields,
    is_loading_document,
)
from prefect_qiskit_runtime.credentials import IBMQuantumCredentials, RuntimeServiceCredentials
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.models import (
    IBM_QUANTUM,
    OUR_SERVICE,
    RuntimeOptions,
    ServiceKind,
    Simulation,
)
from prefect_qiskit_runtime.renamed import old_method

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client import HardwareAccess, RuntimeApi

LEAST_BUSY = "least_busy"
"""Backend name that selects the eligible backend with the fewest waiting jobs."""


class ChoiceFields(BaseModel):
    """Which backends are eligible."""

    fallbacks: list[str] = Field(
        default_factory=list,
        title="Fallbacks",
        description=(
            "Names of other backends, in order of preference. If a job fails with a code that "
            "means its backend cannot run it, the next attempt goes to the next one."
        ),
    )
    min_num_qubits: int | None = Field(
        default=None,
        ge=1,
        title="Least number of qubits",
        description="For the name least_busy: minimum number of qubits.",
    )
    simulators: Literal["any", "only", "never"] = Field(
        default="any",
        title="Simulators",
        description="For the name least_busy: whether simulators are eligible.",
    )
    processor: str | None = Field(
        default=None,
        title="Processor",
        description=(
            "For the name least_busy: the processor family, optionally with its revision."
        ),
        examples=["Heron", "Heron r2"],
    )
    max_queue_length: int | None = Field(
        default=None,
        ge=0,
        title="Longest queue",
        description="For the name least_busy: maximum number of waiting jobs.",
    )
    max_two_qubit_error: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Largest error of two-qubit gates",
        description="For the name least_busy: maximum median error in the last calibration.",
    )
    max_readout_error: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Largest error of measurements",
        description="For the name least_busy: maximum median error in the last calibration.",
    )

    only_healthy: bool = Field(
        default=False,
        title="Only healthy ones",
        description=(
            "For the name least_busy: whether to skip backends that the last run of the flow "
            "backend_health found degraded. Backends that it has not checked stay eligible."
        ),
    )

    def choice_filters(self) -> dict[str, Any]:
        """Return the conditions that the chosen backend must meet, without unset ones."""
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
            "Whether circuits of primitives are transpiled for the backend before they run; the "
            "layout is applied to their observables."
        ),
    )
    optimization_level: int = Field(
        default=1,
        ge=0,
        le=3,
        title="Optimization level",
        description="How much the transpiler optimizes, from 0 to 3.",
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
        description="Device qubit for each circuit qubit; empty to let the transpiler choose.",
    )
    calibration_aware: bool = Field(
        default=True,
        title="Layout by calibration",
        description="Whether qubits are chosen by their calibrated error rates.",
    )
    calibration_id: str | None = Field(
        default=None,
        title="Calibration",
        description=(
            "Id of the calibration to transpile for and run with; empty for the newest. IBM "
            "Quantum only."
        ),
    )
    fractional_gates: bool = Field(
        default=False,
        title="Fractional gates",
        description=(
            "Whether circuits may use gates with any angle (rx, and rzz from 0 to pi/2) if the "
            "device has them. Cannot be combined with gate twirling, PEA or PEC."
        ),
    )

    def transpilation(self) -> dict[str, Any]:
        """Return the transpiler settings that differ from their defaults."""
        fields = TranspilationFields.model_fields
        return {
            name: value
            for name, field in fields.items()
            if name != "transpile" and (value := getattr(self, name)) != field.default
        }


class PrimitiveFields(BaseModel):
    """Default options of primitives, for calls that set none."""

    default_shots: int | None = Field(
        default=None,
        ge=1,
        title="Shots",
        description="Default number of shots, if neither the PUB nor the call sets it.",
    )
    default_precision: float | None = Field(
        default=None,
        gt=0,
        title="Precision",
        description="Default for the estimator, if PUB and call set neither precision nor shots.",
    )
    resilience_level: int | None = Field(
        default=None,
        ge=0,
        le=2,
        title="Resilience level",
        description="How much error mitigation the estimator applies, 0 to 2; empty for IBM's 1.",
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
        description="Pulse sequence applied to idle qubits; empty for none.",
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
    """Return nested options, where those of `above` override those of `below`."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[name] = laid_over(under, value)
        else:
            merged[name] = value
    return merged


def _inconsistency_of(simulation: Simulation) -> str | None:
    """Return what is wrong with settings of a simulation taken together; None if nothing is."""
    # Imported on use: a Prefect server loads this module for its forms only.
    from prefect_qiskit_runtime.program.simulation import SimulationSettings

    try:
        SimulationSettings.read(simulation.model_dump(), "simulation")
    except InvalidInputError as exc:
        return str(exc)
    return None


class SimulationFields(BaseModel):
    """How simulators compute circuits, in a separate class so that its place in forms is fixed."""

    simulation: Simulation = Field(
        default_factory=Simulation,
        title="Simulation",
        description=(
            "How the backend simulates circuits of primitives and programs. IBM Quantum does not "
            "simulate."
        ),
    )

    @field_validator("simulation", mode="after")
    @classmethod
    def _consistent_simulation(cls, value: Simulation) -> Simulation:
        fault = None if is_loading_document() else _inconsistency_of(value)
        if fault is not None:
            raise ValueError(fault)
        return value


OptionsLike = RuntimeOptions | Mapping[str, Any] | None
"""Options as an object, or as a mapping of its fields."""

_KINDS = {"embedded": OUR_SERVICE, "team": OUR_SERVICE, "ibm": IBM_QUANTUM}
_LOGINS: dict[str, type[CredentialsBlock]] = {
    "team": RuntimeServiceCredentials,
    "ibm": IBMQuantumCredentials,
}


class PlaceFields(BaseModel):
    """The service and the backend, in a separate class so that forms begin with them."""

    name: str = Field(
        default="aer_simulator",
        min_length=1,
        title="Backend",
        description=(
            "Name of the backend, for example aer_simulator or fake_manila; or least_busy for the "
            "one that meets the conditions below and has the fewest waiting jobs."
        ),
    )
    service: Literal["embedded", "team", "ibm"] = Field(
        default="embedded",
        title="Service",
        description=(
            "Service that provides the backend: the embedded one on this machine, your team's, or "
            "IBM Quantum."
        ),
    )
    credentials: RuntimeServiceCredentials | IBMQuantumCredentials | None = Field(
        default=None,
        title="Credentials",
        description=("Login to the team's service or to IBM Quantum; the embedded one needs none."),
    )
    hardware_credentials: IBMQuantumCredentials | None = Field(
        default=None,
        title="Credentials for hardware",
        description=(
            "Login to IBM Quantum for programs that run on the embedded service or a team's and "
            "send their circuits to IBM; the name above is then the name of an IBM backend."
        ),
    )
    hardware_mode: Literal["session", "batch", "job"] = Field(
        default="session",
        description=(
            "How a program's circuits are sent to IBM: in a session, which reserves the device, in "
            "a batch, or as separate jobs. The open plan does not include sessions."
        ),
    )
    hardware_max_seconds: float | None = Field(
        default=None,
        gt=0,
        title="Longest use of hardware (seconds)",
        description=(
            "Maximum time on IBM's device for one program, in billed seconds, including repeated "
            "attempts; empty for no limit other than those below."
        ),
    )

    @field_validator("credentials", "hardware_credentials", mode="before")
    @classmethod
    def _none_chosen(cls, value: Any) -> Any:
        # The form of Prefect's UI sends {} if no document is chosen. All fields of an IBM account
        # are optional, so {} would be a valid account.
        return None if value == {} else value


class RuntimeBackend(  # pyright: ignore[reportIncompatibleMethodOverride] - Prefect's of pydantic's
    Referable,
    StrictFields,
    SimulationFields,
    PrimitiveFields,
    TranspilationFields,
    ChoiceFields,
    PlaceFields,
    Block,
):
    """A backend of a Runtime service, and how jobs run on it.

    Example:
        Load a saved backend and run a program on it:
        ```python
        from prefect_qiskit_runtime import RuntimeBackend, run_program

        backend = RuntimeBackend.load("BLOCK_NAME")
        result = run_program("hello-world-1a2b3c4d", {"iterations": 3}, backend=backend)
        ```
    """

    model_config = STRICT

    _block_type_name = "Qiskit Runtime Backend"
    _block_type_slug = "qiskit-runtime-backend"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl("https://quantum.cloud.ibm.com/docs/guides/qpu-information")

    max_execution_time: int | None = Field(
        default=None,
        ge=1,
        title="Longest execution (seconds)",
        description="Wall-clock limit of each job, in seconds; empty for the program's limit.",
    )
    max_payload_bytes: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Maximum size of a job's encoded inputs, in bytes; empty for the 300 MB that IBM "
            "Quantum and this package's services accept. Larger inputs are rejected, or split "
            "if the call requests it."
        ),
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = Field(
        default=None, description="Log level of the programs; empty for WARNING."
    )
    image: str | None = Field(
        default=None,
        title="Image",
        description=(
            "Python environment that the jobs run in; empty for the flow's environment on the "
            "embedded service, and for the default environment on a team's service."
        ),
    )
    tags: list[str] = Field(
        default_factory=list, description="Labels added to each job, to find it later."
    )

    private: bool = Field(
        default=False,
        title="Private jobs",
        description=(
            "Whether the service hides the inputs of jobs from all users, and deletes their "
            "results once they are acknowledged."
        ),
    )
    attempts: int = Field(
        default=3,
        ge=1,
        title="Attempts",
        description=(
            "Maximum number of jobs for one evaluation: a job that fails for a temporary reason "
            "is submitted again. 1 means that no job is submitted again."
        ),
    )
    retry_delay_seconds: float = Field(
        default=2.0,
        ge=0,
        title="Wait between attempts (seconds)",
        description="Wait before a job is resubmitted, in seconds; doubled each time, with jitter.",
    )
    retry_deadline_seconds: float = Field(
        default=600.0,
        ge=0,
        title="Patience with the service (seconds)",
        description=(
            "How long, in seconds, a service that has answered before may be unreachable or too "
            "busy before the call fails."
        ),
    )
    max_qpu_seconds_per_call: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of a call",
        description="Maximum estimated QPU time of one job, in seconds; empty for no limit.",
    )
    max_qpu_seconds_per_flow_run: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of a flow run",
        description=(
            "Maximum QPU time of all jobs of a flow run and its subflows, in seconds; empty for "
            "no limit."
        ),
    )
    max_qpu_seconds_per_day: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of a day",
        description=(
            "Maximum QPU time of all jobs of the account in a day (UTC), in seconds; empty for no "
            "limit."
        ),
    )
    max_qpu_seconds_of_instance: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of the instance",
        description=(
            "Maximum QPU time of the instance in its usage period, in seconds, as IBM counts "
            "it; empty for the limit of its plan."
        ),
    )
    at_budget: Literal["stop", "pause"] = Field(
        default="stop",
        title="Where a budget ends",
        description=(
            "Action when a job would exceed one of these limits, or a program on hardware has "
            "reached one: the call fails, or the flow run is paused until a user resumes it, "
            "which grants the same amount again."
        ),
    )
    cache_results: bool = Field(
        default=False,
        title="Keep results",
        description=(
            "Whether calls that wait for a result (run_...) keep it, and reuse the result of an "
            "earlier equal call in any flow run. Private jobs never do."
        ),
    )
    cache_expiration_seconds: float | None = Field(
        default=None,
        gt=0,
        title="Age of kept results (seconds)",
        description="Maximum age of a kept result, in seconds; empty for any age.",
    )
    cache_calibration: Literal["ignore", "same calibration"] = Field(
        default="ignore",
        title="Calibration of kept results",
        description=(
            "Whether a kept result stays valid after the backend is recalibrated, or only for "
            "the same calibration."
        ),
    )
    unsupported_options: Literal["refuse", "record"] = Field(
        default="refuse",
        title="Unsupported options",
        description=(
            "Treatment of primitive options that the backend does not support: they are refused, "
            "or ignored and recorded in the metadata of the result."
        ),
    )

    def require_usable(self) -> None:
        """Check that jobs can run on this backend.

        Forms of Prefect's UI may save a block with fields that do not fit together. It loads, and
        the error is raised when the block is used.

        Raises:
            ConfigurationError: The fields do not fit together, or a secret is masked.
        """
        super().require_usable()
        for login in (self.credentials, self.hardware_credentials):
            if login is not None:
                login.require_secrets()

    def _faults(self) -> Iterator[str]:
        """Yield what is wrong with the fields taken together."""
        found = (
            self._fault_of_credentials(),
            self._fault_of_choice(),
            self._fault_of_accuracy(),
            self._fault_of_calibration(),
            self._fault_of_simulation(),
            self._fault_of_hardware(),
            self._fault_of_private_jobs(),
        )
        return (fault for fault in found if fault is not None)

    def _fault_of_credentials(self) -> str | None:
        if self.service == "embedded" and self.credentials is not None:
            fitting = next(name for name, kind in _LOGINS.items() if type(self.credentials) is kind)
            return (
                f"service='embedded' takes no credentials: set service={fitting!r} to use them, "
                "or leave them out."
            )
        kind = _LOGINS.get(self.service)
        if kind is not None and not isinstance(self.credentials, kind):
            given = "" if self.credentials is None else f", not {type(self.credentials).__name__}"
            return (
                f"service={self.service!r} needs credentials: pass a {kind.__name__} block{given}. "
                "Jobs never fall back to another service."
            )
        return None

    def _fault_of_choice(self) -> str | None:
        if self.name != LEAST_BUSY and (filters := self.choice_filters()):
            return (
                f"{', '.join(filters)} choose among backends, but name={self.name!r} already names "
                f"one: set name={LEAST_BUSY!r}, or leave them out."
            )
        if self.name == LEAST_BUSY and self.cache_calibration == "same calibration":
            return (
                "cache_calibration='same calibration' needs one backend: name it instead of"
                f" {LEAST_BUSY!r}."
            )
        return None

    def _fault_of_accuracy(self) -> str | None:
        if self.default_shots is not None and self.default_precision is not None:
            return (
                "default_shots and default_precision exclude each other: precision p means 1/p**2 "
                "shots. Leave out one of the two."
            )
        return None

    def _fault_of_calibration(self) -> str | None:
        if self.calibration_id is not None and (self.kind.takes_seed or self.name == LEAST_BUSY):
            return "calibration_id needs a backend of IBM Quantum (service='ibm') that is named."
        if self.calibration_id is not None and self.fallbacks:
            return "calibration_id belongs to one backend, but fallbacks are others: leave one out."
        return None

    def _fault_of_simulation(self) -> str | None:
        if self.simulation == Simulation():
            return None
        if (fault := _inconsistency_of(self.simulation)) is not None:
            return fault
        named = self.named_simulation()
        if named and (not self.kind.takes_seed or self.hardware_credentials is not None):
            return (
                f"simulation sets {', '.join(named)}, but the circuits of this block run on "
                "devices of IBM Quantum, and nothing is simulated: leave simulation out."
            )
        return None

    def _fault_of_hardware(self) -> str | None:
        if self.hardware_credentials is None:
            changed = {
                "hardware_max_seconds": self.hardware_max_seconds is not None,
                "hardware_mode": self.hardware_mode != "session",
            }
            name = next((name for name, is_changed in changed.items() if is_changed), None)
            return None if name is None else f"{name} needs hardware_credentials."
        if not self.kind.runs_programs:
            return (
                "service='ibm' runs primitives with its credentials. hardware_credentials are for "
                "programs that run on service='embedded' or 'team' and send circuits to IBM."
            )
        if self.name == LEAST_BUSY:
            return (
                "hardware_credentials need one backend of IBM Quantum: name it instead of"
                f" {LEAST_BUSY!r}."
            )
        if self.private:
            return (
                "private=True and hardware_credentials exclude each other: the result of a private "
                "IBM job can be read only once, so a program that is run again would be billed "
                "twice."
            )
        return None

    def _fault_of_private_jobs(self) -> str | None:
        if self.private and self.cache_results:
            return (
                "private=True and cache_results=True exclude each other: results of private jobs "
                "are not kept."
            )
        return None

    @property
    def kind(self) -> ServiceKind:
        """The features of the service."""
        return _KINDS[self.service]

    def connect(self) -> AbstractAsyncContextManager[RuntimeApi]:
        """Open a connection to the service of this backend; starts the embedded one if needed.

        Raises:
            ConfigurationError: The block cannot be used.
        """
        self.require_usable()
        from prefect_qiskit_runtime.client import embedded_api

        api = embedded_api() if self.credentials is None else self.credentials.connect()
        access = self.hardware_access()
        return api if access is None else api.with_hardware(access)

    def hardware_access(self) -> HardwareAccess | None:
        """Return the access of programs to IBM Quantum; None without hardware credentials."""
        if self.hardware_credentials is None:
            return None
        from prefect_qiskit_runtime.client import HardwareAccess

        own = (self.hardware_max_seconds, self.max_qpu_seconds_per_call)
        return HardwareAccess(
            self.hardware_credentials.account(),
            mode=self.hardware_mode,
            max_seconds=min((limit for limit in own if limit is not None), default=None),
            max_seconds_per_flow_run=self.max_qpu_seconds_per_flow_run,
            max_seconds_per_day=self.max_qpu_seconds_per_day,
            max_seconds_of_instance=self.max_qpu_seconds_of_instance,
        )

    def with_name(self, name: str) -> Self:
        """Return this block with the chosen backend and no conditions left."""
        if name == self.name:
            return self
        fields = ChoiceFields.model_fields
        settled = {filter_: fields[filter_].default for filter_ in self.choice_filters()}
        return self.model_copy(update={**settled, "name": name})

    at = old_method("at", "with_name")

    def named_simulation(self) -> dict[str, Any]:
        """Return the settings of the simulation that differ from their defaults."""
        if self.simulation == Simulation():
            return {}
        from prefect_qiskit_runtime.program.simulation import SimulationSettings

        return SimulationSettings.read(self.simulation.model_dump()).named

    def program_options(self, given: OptionsLike = None) -> RuntimeOptions:
        """Return the options of a job of a program: those of `options`, and the simulation.

        Raises:
            ConfigurationError: As for `options`, or the settings of the simulation exclude each
                other, or nothing is simulated.
        """
        from prefect_qiskit_runtime.program.simulation import (
            SimulationSettings,
            lay_simulation_over,
        )

        merged = self.options(given)
        asked = (
            {} if merged.simulation is None else merged.simulation.model_dump(exclude_unset=True)
        )
        together = lay_simulation_over(self.named_simulation(), asked)
        try:
            named = SimulationSettings.read(together, "$.options.simulation").named
        except InvalidInputError as exc:
            raise ConfigurationError(str(exc)) from exc
        if named and self.hardware_credentials is not None:
            raise ConfigurationError(
                f"simulation sets {', '.join(named)}, but the program's circuits run on the device "
                f"{self.name} of IBM Quantum, and nothing is simulated: leave simulation out."
            )
        return merged.model_copy(update={"simulation": Simulation(**named) if named else None})

    def options(self, given: OptionsLike = None) -> RuntimeOptions:
        """Return the block's options, overridden by those of one call.

        Raises:
            ConfigurationError: An option does not exist, has an invalid value, or names a
                different backend or instance than the block.
        """
        asked = RuntimeOptions.read(given)
        instance = self.credentials.instance if self.credentials is not None else None
        for option, ours in (("backend", self.name), ("instance", instance)):
            theirs = getattr(asked, option)
            if theirs not in (None, ours):
                raise ConfigurationError(
                    f"The options name {option} {theirs!r}, but the call's backend has {ours!r}."
                    f" Leave {option} out of the options."
                )
        return asked.model_copy(
            update={
                "max_execution_time": asked.max_execution_time or self.max_execution_time,
                "log_level": asked.log_level or self.log_level,
                "tags": tuple(dict.fromkeys([*self.tags, *asked.tags])),
                "image": asked.image or self.image,
                "private": self.private if asked.private is None else asked.private,
                "attempts": asked.attempts or self.attempts,
                "retry_delay_seconds": _first(asked.retry_delay_seconds, self.retry_delay_seconds),
                "retry_deadline_seconds": _first(
                    asked.retry_deadline_seconds, self.retry_deadline_seconds
                ),
                "calibration_id": asked.calibration_id or self.calibration_id,
            }
        )


def service_identity(backend: RuntimeBackend) -> list[str]:
    """Return the values that identify a service: its kind and its addresses."""
    identity: list[str] = [backend.service]
    for login in (backend.credentials, backend.hardware_credentials):
        if login is not None:
            identity += [str(login.url), login.instance or ""]
    return identity


def _first(asked: float | None, otherwise: float) -> float:
    return otherwise if asked is None else asked


BackendLike = RuntimeBackend | str
"""A block, or the name of a backend of the embedded service."""


def as_backend(backend: BackendLike) -> RuntimeBackend:
    """Return a block unchanged, and a name as a backend of the embedded service.

    Raises:
        ConfigurationError: `backend` is neither, or the block cannot be used.
    """
    if isinstance(backend, RuntimeBackend):
        backend.require_usable()
        return backend
    if isinstance(backend, str):
        return RuntimeBackend(name=backend)
    raise ConfigurationError(
        f"backend must be a RuntimeBackend block or the name of a backend of the embedded "
        f"service, not {type(backend).__name__}: {backend!r:.80}"
    )


@dataclass(frozen=True)
class BlockReference:
    """A backend block without its login.

    Attributes:
        fields: The fields of the block, except the credentials.
        document_id: Id of the saved backend block or credentials block; None if neither is saved.
    """

    fields: dict[str, Any]
    document_id: UUID | None

    def resolved(self) -> RuntimeBackend:
        """Return the backend, with the login that is currently saved.

        Raises:
            ConfigurationError: The login is not in a saved block.
        """
        if self.document_id is None:
            raise ConfigurationError(
                f"The login to the {self.fields['service']} service was not passed on with the job,"
                " because it is not in a saved block. Save the RuntimeBackend or its credentials"
                " before the flow runs, or use attach_job with the job's id and a backend."
            )
        # A synchronous client, because the caller may be a property, in any thread or loop.
        with get_client(sync_client=True) as client:
            document = client.read_block_document(self.document_id)
        block = Block._from_block_document(document)
        credentials = block.credentials if isinstance(block, RuntimeBackend) else block
        return RuntimeBackend.model_validate({**self.fields, "credentials": credentials})


def without_login(backend: RuntimeBackend | BlockReference) -> RuntimeBackend | BlockReference:
    """Return a backend without its secrets, which must not leave the process."""
    if isinstance(backend, BlockReference) or backend.credentials is None:
        return backend
    fields = {name: getattr(backend, name) for name in type(backend).model_fields}
    del fields["credentials"]
    saved = backend.credentials._block_document_id or backend._block_document_id
    return BlockReference(fields, saved)
