"""The block that says where circuits go: which service, which backend, with which options.

It names the service, so nothing silently runs somewhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Self

from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block
from pydantic import BaseModel, Field, HttpUrl, field_validator, model_validator

from prefect_qiskit_runtime._backend_fields import (
    LEAST_BUSY,
    ChoiceFields,
    PrimitiveFields,
    TranspilationFields,
)
from prefect_qiskit_runtime._references import LOGO_URL, Referable
from prefect_qiskit_runtime.client import HardwareAccess, RuntimeApi, embedded_api
from prefect_qiskit_runtime.credentials import IBMQuantumCredentials, RuntimeServiceCredentials
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import RuntimeOptions

OptionsLike = RuntimeOptions | Mapping[str, Any] | None
"""Options as an object, or as a mapping of its fields."""


_LOGINS: dict[str, type[CredentialsBlock]] = {
    "team": RuntimeServiceCredentials,
    "ibm": IBMQuantumCredentials,
}


class PlaceFields(BaseModel):
    """Which service, which backend. A class of its own, so that forms begin with it."""

    name: str = Field(
        default="aer_simulator",
        min_length=1,
        title="Backend",
        description=(
            "Name of the backend, for example aer_simulator or fake_manila; least_busy for the one "
            "that fits the fields below and has the fewest jobs waiting."
        ),
    )
    service: Literal["embedded", "team", "ibm"] = Field(
        default="embedded",
        title="Service",
        description=(
            "Which service has the backend: the embedded one of this machine, your team's, or "
            "IBM Quantum."
        ),
    )
    credentials: RuntimeServiceCredentials | IBMQuantumCredentials | None = Field(
        default=None,
        title="Credentials",
        description=(
            "Login to the team's service, or to IBM Quantum; the embedded one needs none."
        ),
    )
    hardware_credentials: IBMQuantumCredentials | None = Field(
        default=None,
        title="Credentials for hardware",
        description=(
            "Login to IBM Quantum for programs that run on the embedded service or a team's and "
            "send their circuits to IBM: the name above is then that of a backend of IBM's."
        ),
    )
    hardware_mode: Literal["session", "batch", "job"] = Field(
        default="session",
        description=(
            "How the circuits of one program are sent to IBM: in a session, which holds the device "
            "for them, in a batch, or each job for itself. The open plan has no sessions."
        ),
    )
    hardware_max_seconds: float | None = Field(
        default=None,
        gt=0,
        title="Longest use of hardware (seconds)",
        description=(
            "How much time of IBM's device one program may use, in seconds, as IBM bills it and "
            "attempts that are sent again included; empty for no limit but those below."
        ),
    )

    @field_validator("credentials", "hardware_credentials", mode="before")
    @classmethod
    def _none_chosen(cls, value: Any) -> Any:
        # What the form of Prefect's UI sends where no document is chosen. All fields of an account
        # at IBM are optional, so it would be one.
        return None if value == {} else value


class RuntimeBackend(  # pyright: ignore[reportIncompatibleMethodOverride] - Prefect's of pydantic's
    Referable, PrimitiveFields, TranspilationFields, ChoiceFields, PlaceFields, Block
):
    """A backend of a Runtime service, and how jobs are to run on it.

    Example:
        Load a saved backend and run a program on it:
        ```python
        from prefect_qiskit_runtime import RuntimeBackend, run_program

        backend = RuntimeBackend.load("BLOCK_NAME")
        result = run_program("hello-world-1a2b3c4d", {"iterations": 3}, backend=backend)
        ```
    """

    _block_type_name = "Qiskit Runtime Backend"
    _block_type_slug = "qiskit-runtime-backend"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl("https://quantum.cloud.ibm.com/docs/guides/qpu-information")

    max_execution_time: int | None = Field(
        default=None,
        ge=1,
        title="Longest execution (seconds)",
        description="Wall-clock limit of each job, in seconds; empty for the program's own.",
    )
    max_payload_bytes: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Largest inputs of a job, in bytes, encoded; empty for the 300 MB that IBM Quantum and "
            "services of this package take. Larger ones are refused, or split where the call says."
        ),
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = Field(
        default=None, description="How much the programs write to their logs; empty for WARNING."
    )
    image: str | None = Field(
        default=None,
        title="Image",
        description=(
            "Python environment that the jobs run in; empty for the flow's own environment "
            "on the embedded service and for the default of a team's."
        ),
    )
    tags: list[str] = Field(
        default_factory=list, description="Labels that each job gets, to find it again."
    )

    private: bool = Field(
        default=False,
        title="Private jobs",
        description=(
            "Whether the service shows the inputs of jobs to nobody, and deletes their results "
            "once they are acknowledged."
        ),
    )
    attempts: int = Field(
        default=3,
        ge=1,
        title="Attempts",
        description=(
            "How many jobs one evaluation may take: one that ended for a passing reason is sent "
            "again. 1 never sends again."
        ),
    )
    retry_delay_seconds: float = Field(
        default=2.0,
        ge=0,
        title="Wait between attempts (seconds)",
        description="Wait before a job is sent again, in seconds; doubled each time, with jitter.",
    )
    retry_deadline_seconds: float = Field(
        default=600.0,
        ge=0,
        title="Patience with the service (seconds)",
        description=(
            "How long, in seconds, a service that has answered before may be away, or refuse for "
            "being busy, before that is an error."
        ),
    )
    max_qpu_seconds_per_call: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of a call",
        description="How much time on a QPU one job may be estimated to use; empty for no limit.",
    )
    max_qpu_seconds_per_flow_run: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of a flow run",
        description=(
            "How much time on a QPU the jobs of a flow run, with its subflows, may use; empty for "
            "no limit."
        ),
    )
    max_qpu_seconds_per_day: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of a day",
        description=(
            "How much time on a QPU all jobs of the account may use in a day (UTC); empty for no "
            "limit."
        ),
    )
    max_qpu_seconds_of_instance: float | None = Field(
        default=None,
        ge=0,
        title="QPU seconds of the instance",
        description=(
            "How much time the instance may have used in its period, as IBM counts it; empty for "
            "the limit of its plan."
        ),
    )
    at_budget: Literal["stop", "pause"] = Field(
        default="stop",
        title="Where a budget ends",
        description=(
            "What happens where a job would pass one of these limits, or a program on hardware has "
            "reached one: the call fails, or the flow run is paused until somebody resumes it, "
            "which grants as much again."
        ),
    )
    cache_results: bool = Field(
        default=False,
        title="Keep results",
        description=(
            "Whether calls that wait for a result (run_...) keep it, and take that of an equal "
            "call before, in any flow run. Never for private jobs."
        ),
    )
    cache_expiration_seconds: float | None = Field(
        default=None,
        gt=0,
        title="Age of kept results (seconds)",
        description="How old a kept result may be, in seconds; empty for any age.",
    )
    cache_calibration: Literal["ignore", "same calibration"] = Field(
        default="ignore",
        title="Calibration of kept results",
        description=(
            "Whether a kept result counts also after the backend was calibrated again, or only "
            "for the same calibration."
        ),
    )
    unsupported_options: Literal["refuse", "record"] = Field(
        default="refuse",
        title="Unsupported options",
        description=(
            "What happens to options of primitives that the backend does not support: they are "
            "refused, or ignored and recorded in the metadata of the result."
        ),
    )

    @model_validator(mode="after")
    def _credentials_fit_the_service(self) -> RuntimeBackend:
        if self.service == "embedded" and self.credentials is not None:
            fitting = next(name for name, kind in _LOGINS.items() if type(self.credentials) is kind)
            raise ValueError(
                f"service='embedded' takes no credentials: set service={fitting!r} to use them, "
                "or leave them out."
            )
        kind = _LOGINS.get(self.service)
        if kind is not None and not isinstance(self.credentials, kind):
            given = "" if self.credentials is None else f", not {type(self.credentials).__name__}"
            raise ValueError(
                f"service={self.service!r} needs credentials: give a {kind.__name__} block{given}. "
                "Without one the job would have to run somewhere else, which is never done."
            )
        return self

    @model_validator(mode="after")
    def _choice_is_open(self) -> RuntimeBackend:
        if self.name != LEAST_BUSY and (filters := self.choice_filters()):
            raise ValueError(
                f"{', '.join(filters)} choose among backends, and {self.name!r} is chosen: set "
                f"name={LEAST_BUSY!r}, or leave them out."
            )
        if self.name == LEAST_BUSY and self.cache_calibration == "same calibration":
            raise ValueError(
                "cache_calibration='same calibration' is of one backend: name it in place of"
                f" {LEAST_BUSY!r}."
            )
        return self

    @model_validator(mode="after")
    def _one_accuracy(self) -> RuntimeBackend:
        if self.default_shots is not None and self.default_precision is not None:
            raise ValueError(
                "default_shots and default_precision exclude each other: precision p means 1/p**2 "
                "shots. Leave out one of the two."
            )
        return self

    @model_validator(mode="after")
    def _calibrations_have_ids_at_ibm(self) -> RuntimeBackend:
        if self.calibration_id is not None and (self.service != "ibm" or self.name == LEAST_BUSY):
            raise ValueError(
                "calibration_id is of a backend of IBM Quantum (service='ibm') that is named."
            )
        if self.calibration_id is not None and self.fallbacks:
            raise ValueError(
                "calibration_id is of one backend, and fallbacks are others: leave one out."
            )
        return self

    @model_validator(mode="after")
    def _hardware_is_for_programs(self) -> RuntimeBackend:
        if self.hardware_credentials is None:
            if self.hardware_max_seconds is not None:
                raise ValueError("hardware_max_seconds needs hardware_credentials.")
            if self.hardware_mode != "session":
                raise ValueError("hardware_mode needs hardware_credentials.")
            return self
        if self.service == "ibm":
            raise ValueError(
                "service='ibm' runs primitives with its credentials. hardware_credentials are for "
                "programs, which run on service='embedded' or 'team' and send circuits to IBM."
            )
        if self.name == LEAST_BUSY:
            raise ValueError(
                "hardware_credentials are for one backend of IBM's: name it in place of"
                f" {LEAST_BUSY!r}."
            )
        if self.private:
            raise ValueError(
                "private=True and hardware_credentials exclude each other: the result of a private "
                "job of IBM can be read once, so a program that is sent again would pay again."
            )
        return self

    @model_validator(mode="after")
    def _private_is_not_kept(self) -> RuntimeBackend:
        if self.private and self.cache_results:
            raise ValueError(
                "private=True and cache_results=True exclude each other: results of private jobs "
                "are not kept."
            )
        return self

    def connect(self) -> AbstractAsyncContextManager[RuntimeApi]:
        """Open a connection to the service of this backend; starts the embedded one if needed."""
        api = embedded_api() if self.credentials is None else self.credentials.api()
        access = self.hardware_access()
        return api if access is None else api.with_hardware(access)

    def hardware_access(self) -> HardwareAccess | None:
        """Return what programs may use of IBM Quantum; None if that is nothing."""
        if self.hardware_credentials is None:
            return None
        own = (self.hardware_max_seconds, self.max_qpu_seconds_per_call)
        return HardwareAccess(
            self.hardware_credentials.account(),
            mode=self.hardware_mode,
            max_seconds=min((limit for limit in own if limit is not None), default=None),
            max_seconds_per_flow_run=self.max_qpu_seconds_per_flow_run,
            max_seconds_per_day=self.max_qpu_seconds_per_day,
            max_seconds_of_instance=self.max_qpu_seconds_of_instance,
        )

    def at(self, name: str) -> Self:
        """Return this block with the backend that was chosen, and nothing left to choose."""
        if name == self.name:
            return self
        fields = ChoiceFields.model_fields
        settled = {filter_: fields[filter_].default for filter_ in self.choice_filters()}
        return self.model_copy(update={**settled, "name": name})

    def options(self, given: OptionsLike = None) -> RuntimeOptions:
        """Lay the options of one call over those of the block.

        Raises:
            ConfigurationError: There is no such option, it has a wrong value, or it names
                another backend or instance than the block.
        """
        asked = RuntimeOptions.read(given)
        instance = self.credentials.instance if self.credentials is not None else None
        for option, ours in (("backend", self.name), ("instance", instance)):
            theirs = getattr(asked, option)
            if theirs not in (None, ours):
                raise ConfigurationError(
                    f"The options name {option} {theirs!r}, the backend of the call has {ours!r}."
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
    """Return what tells a service from others: which kind, and where it is."""
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
    """Take a block as it is, and a name as that backend of the embedded service.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(backend, RuntimeBackend):
        return backend
    if isinstance(backend, str):
        return RuntimeBackend(name=backend)
    raise ConfigurationError(
        f"backend must be a RuntimeBackend block or the name of a backend of the embedded "
        f"service, not {type(backend).__name__}: {backend!r:.80}"
    )
