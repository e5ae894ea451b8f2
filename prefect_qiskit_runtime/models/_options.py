"""The caller's options for running a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prefect_qiskit_runtime.errors import ConfigurationError, close_name

_IBM_OPTION_NAMES = {"backend_name": "backend", "job_tags": "tags"}


class _Options(BaseModel):
    """Frozen options. Unknown names are refused, also by `model_copy`, the way to change them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the options with changes. As in every pydantic model, values are not checked.

        Raises:
            ConfigurationError: There is no option of such a name.
        """
        names = type(self).model_fields
        for name in (update or {}).keys() - names.keys():
            raise ConfigurationError(
                f"{type(self).__name__} has no option {name!r}.{close_name(name, names)}"
            )
        return super().model_copy(update=update, deep=deep)


class Simulation(_Options):
    """How simulators compute circuits. The rules between the fields are checked where it is used.

    Attributes:
        method: The method; "automatic" chooses one for each circuit.
        bond_dimension: Maximum dimension of each bond of a matrix product state.
        truncation: Sum of squared coefficients that a matrix product state may lose at a gate.
        max_memory_mb: Memory for the state of a circuit, in MiB; default: the machine's.
        device: Where states are computed.
    """

    method: Literal[
        "automatic",
        "statevector",
        "density_matrix",
        "stabilizer",
        "extended_stabilizer",
        "matrix_product_state",
    ] = Field(
        default="automatic",
        title="Method",
        description=(
            "How circuits are simulated. Automatic chooses for each circuit: stabilizers for "
            "Clifford gates, state vectors or density matrices as far as memory allows, matrix "
            "product states for wide circuits with little entanglement."
        ),
    )
    bond_dimension: int | None = Field(
        default=None,
        ge=1,
        title="Largest bond dimension",
        description=(
            "Limit of matrix product states: more bounds time and memory less, and keeps more "
            "entanglement; empty for no limit."
        ),
    )
    truncation: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        title="Truncation",
        description=(
            "Sum of squared coefficients that a matrix product state may lose at each gate; empty "
            "for 1e-16."
        ),
    )
    max_memory_mb: int | None = Field(
        default=None,
        ge=1,
        title="Memory limit (MiB)",
        description="Largest state of a circuit; empty for the memory of the machine.",
    )
    device: Literal["CPU", "GPU"] = Field(
        default="CPU",
        title="Processor of the simulator",
        description="GPU needs qiskit-aer-gpu in the image of the job, and a GPU.",
    )


class RuntimeOptions(_Options):
    """Options of one job. Omitted options come from the backend block, then from the program.

    IBM's names `backend_name` and `job_tags` are accepted for `backend` and `tags`.

    Attributes:
        max_execution_time: Wall-clock limit in seconds; never above the program's limit.
        log_level: Level of the job's `logging`: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        tags: Labels by which the job can be found.
        image: The Python environment that the job runs in. Default: the caller's environment on
            the embedded service, the service's default elsewhere.
        private: Whether the service never returns the inputs, and deletes the result once it is
            acknowledged.
        backend: Name of the backend, if the call does not name one.
        instance: The instance to run in; it must be the client's instance.
        session_id: The session or batch that the job belongs to.
        start_session: Open a session with this job as its first; the session takes the job's
            id. IBM's older clients open sessions this way; `runtime_session` also closes them.
        session_time: Max time, in seconds, of the session that the job opens.
        attempts: How many jobs one evaluation may use: after a transient failure, the job is
            sent again. With 1, it is never sent again.
        retry_delay_seconds: Wait before sending again; doubled each time, with jitter.
        retry_deadline_seconds: How long a service that has answered before may be unreachable,
            or too busy, before an error is raised.
        calibration_id: The calibration that the circuits were made for; IBM Quantum only.
        simulation: How a program's backend simulates. Primitives have it among their own options,
            under "simulator".
    """

    @model_validator(mode="before")
    @classmethod
    def _translate_ibm_names(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        fields: dict[str, Any] = {}
        for name, value in given.items():
            ours = str(_IBM_OPTION_NAMES.get(name, name))
            if ours in fields and fields[ours] != value:
                raise ValueError(f"{ours} is given twice, under two names")
            fields[ours] = value
        if fields.get("tags", ()) is None:
            del fields["tags"]
        if isinstance(level := fields.get("log_level"), str):
            fields["log_level"] = level.upper()
        return fields

    max_execution_time: int | None = Field(default=None, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None
    tags: tuple[str, ...] = ()
    image: str | None = None
    private: bool | None = None
    backend: str | None = None
    instance: str | None = None
    session_id: str | None = Field(default=None, min_length=1)
    start_session: bool = False
    session_time: int | None = Field(default=None, ge=1)
    attempts: int | None = Field(default=None, ge=1)
    retry_delay_seconds: float | None = Field(default=None, ge=0)
    retry_deadline_seconds: float | None = Field(default=None, ge=0)
    calibration_id: str | None = None
    simulation: Simulation | None = None

    @classmethod
    def read(cls, given: RuntimeOptions | Mapping[str, Any] | None) -> RuntimeOptions:
        """Read options from an object or from a mapping of their fields.

        Raises:
            ConfigurationError: An option is unknown or has an invalid value.
        """
        if isinstance(given, RuntimeOptions):
            return given
        try:
            return cls.model_validate(given or {})
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            is_unknown = fault["type"] == "extra_forbidden"
            known = Simulation if place.startswith("simulation.") else cls
            name = str(fault["loc"][-1]) if fault["loc"] else ""
            close = close_name(name, known.model_fields) if is_unknown else ""
            raise ConfigurationError(
                f"{f'Option {place!r}' if place else 'Options'}: {fault['msg']}.{close} The options"
                f" of a job are {', '.join(cls.model_fields)}."
            ) from error
