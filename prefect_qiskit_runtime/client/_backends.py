"""Backends as `RuntimeClient` returns them: configuration, calibration, status and target."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._sessions import SessionsClient
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.errors import ConfigurationError, NotFoundError, ProtocolError
from prefect_qiskit_runtime.models import BackendStatus, Side, Wire

if TYPE_CHECKING:
    from qiskit.transpiler import Target

_CONFIGURATIONS_AT_ONCE = 8


class RuntimeClientBackend:
    """A backend of a Runtime service.

    The fields of its configuration (`n_qubits`, `basis_gates`, `coupling_map` …) are also
    available as attributes.

    Attributes:
        name: Its name.
        num_qubits: Its number of qubits; 0 if the service does not report it.
        simulator: Whether it is a simulator.
        operational: Whether it accepted jobs when it was listed.
        pending_jobs: Number of jobs queued at that time; None if the service did not report it.
    """

    def __init__(
        self, api: RuntimeApi, listed: BackendStatus, configuration: Mapping[str, Any]
    ) -> None:
        self.name = listed.name
        self.num_qubits = _num_qubits(listed, configuration)
        self.simulator = bool(configuration.get("simulator", listed.simulator))
        self.operational = listed.operational
        self.pending_jobs = listed.queue_length
        self._api = api
        self._raw_configuration = configuration
        self._configuration: Any = None
        self._properties: Any = None
        self._target: Target | None = None

    def __repr__(self) -> str:
        return f"RuntimeClientBackend({self.name!r})"

    def __getattr__(self, name: str) -> Any:
        # `__dict__`: on a partly made copy, a plain lookup would recurse.
        if not name.startswith("_") and name in self.__dict__.get("_raw_configuration", {}):
            return getattr(self.configuration(), name)
        raise AttributeError(f"Backend {self.__dict__.get('name')!r} has no attribute {name!r}.")

    def configuration(self) -> Any:
        """Return the configuration, as a type of the Qiskit Runtime client.

        Raises:
            ProtocolError: The service returned something else.
        """
        if self._configuration is None:
            self._configuration = seams.backend_configuration(self._raw_configuration)
        if self._configuration is None:
            raise ProtocolError(f"The configuration of backend {self.name} cannot be read.")
        return self._configuration

    async def properties(self, refresh: bool = False, datetime: datetime | None = None) -> Any:
        """Return the calibration, as a type of the Qiskit Runtime client; None if ideal.

        Args:
            refresh: Ask the service again instead of using the cached calibration.
            datetime: Return the last calibration before this time (aware, or local).
        """
        if datetime is not None or refresh or self._properties is None:
            before = None if datetime is None else datetime.astimezone(UTC)
            raw = await self._api.backend_properties(self.name, updated_before=before)
            properties = await asyncio.to_thread(
                seams.backend_properties, raw, self._raw_configuration
            )
            if datetime is not None:
                return properties
            self._properties, self._target = properties, None
        return self._properties

    async def status(self) -> Any:
        """Return its status and queue length, as a type of the Qiskit Runtime client."""
        raw = _Status.model_validate(await self._api.backend_status(self.name))
        return seams.backend_status(self.name, raw.model_dump())

    async def target(self) -> Target:
        """Return the transpiler's target: instructions, coupling and errors."""
        properties = await self.properties()
        if self._target is None:
            self._target = await asyncio.to_thread(
                seams.backend_target, self.configuration(), properties
            )
        return self._target


BackendFilter = Callable[[RuntimeClientBackend], bool]


class BackendsClient(SessionsClient):
    """The backend methods of the Qiskit Runtime services, for `RuntimeClient`."""

    async def backends(
        self,
        name: str | None = None,
        min_num_qubits: int | None = None,
        instance: str | None = None,
        dynamic_circuits: bool | None = None,
        filters: BackendFilter | None = None,
        **kwargs: Any,
    ) -> list[RuntimeClientBackend]:
        """List the backends of the service.

        Args:
            name: Only the backend of this name.
            min_num_qubits: Only backends with at least this many qubits.
            instance: The CRN of the instance; must be the client's instance.
            dynamic_circuits: True for backends that run circuits with control flow, False for
                those that do not.
            filters: Called with each backend; keeps those for which it returns true.
            kwargs: Required values of attributes of the backend or its configuration, as in
                `simulator=False` or `operational=True`.

        Raises:
            ConfigurationError: The client works in another instance.
        """
        await self._require_instance(instance)
        listed = [
            one
            for one in await self._api.list_backends()
            if name in (None, one.name)
            and (one.qubits is None or one.qubits >= (min_num_qubits or 0))
            and kwargs.get("operational") in (None, one.operational)
        ]
        found = await self._configured(listed)
        found = [one for one in found if one.num_qubits >= (min_num_qubits or 0)]
        if dynamic_circuits is not None:
            found = [one for one in found if _is_dynamic(one) is dynamic_circuits]
        asked = {field: value for field, value in kwargs.items() if value is not None}
        found = [one for one in found if _has(one, asked)]
        return found if filters is None else [one for one in found if filters(one)]

    async def backend(self, name: str, instance: str | None = None) -> RuntimeClientBackend:
        """Return a backend by its name.

        Raises:
            NotFoundError: The service has no backend of that name.
        """
        return await self.get_backend(name, instance=instance)

    async def get_backend(
        self, name: str | None = None, instance: str | None = None, **kwargs: Any
    ) -> RuntimeClientBackend:
        """Return the only backend that matches.

        Args:
            name: Its name.
            instance: As in `backends`.
            kwargs: As in `backends`.

        Raises:
            NotFoundError: No backend matches.
            ConfigurationError: Several backends match.
        """
        found = await self.backends(name, instance=instance, **kwargs)
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise ConfigurationError(f"Several backends match; name one of them: {names}.")
        if not found:
            raise self._no_backend(name, kwargs)
        return found[0]

    async def least_busy(
        self,
        min_num_qubits: int | None = None,
        instance: str | None = None,
        filters: BackendFilter | None = None,
        **kwargs: Any,
    ) -> RuntimeClientBackend:
        """Return the operational backend with the fewest queued jobs.

        Args:
            min_num_qubits: As in `backends`.
            instance: As in `backends`.
            filters: As in `backends`.
            kwargs: As in `backends`.

        Raises:
            NotFoundError: No backend matches.
        """
        kwargs = {**kwargs, "operational": True}
        found = await self.backends(
            min_num_qubits=min_num_qubits, instance=instance, filters=filters, **kwargs
        )
        if not found:
            raise self._no_backend(None, {**kwargs, "min_num_qubits": min_num_qubits})
        return min(found, key=lambda one: _queue_key(one.pending_jobs))

    def _no_backend(self, name: str | None, asked: Mapping[str, Any]) -> NotFoundError:
        wanted = {field: value for field, value in asked.items() if value is not None}
        such = f" {name!r}" if name else ""
        given = f" with {', '.join(f'{f}={v!r}' for f, v in wanted.items())}" if wanted else ""
        return NotFoundError(
            f"The service at {self._api.url} has no backend{such}{given}; backends() lists them.",
            kind="backend",
            identifier=name,
        )

    async def _configured(self, listed: Iterable[BackendStatus]) -> list[RuntimeClientBackend]:
        at_once = asyncio.Semaphore(_CONFIGURATIONS_AT_ONCE)

        async def configured(one: BackendStatus) -> RuntimeClientBackend:
            if one.name not in self._configurations:
                async with at_once:
                    raw = await self._api.backend_configuration(one.name)
                self._configurations[one.name] = raw
            return RuntimeClientBackend(self._api, one, self._configurations[one.name])

        return list(await asyncio.gather(*map(configured, listed)))


class _Status(Wire):
    """The status of a backend, as far as it can be read."""

    backend_version: Side[str] = ""
    state: Side[bool] = False
    length_queue: Side[Annotated[int, Field(ge=0)]] = 0
    status: Side[str] = ""


def _num_qubits(listed: BackendStatus, configuration: Mapping[str, Any]) -> int:
    """Return the number of qubits: of the listing, or else of the configuration."""
    reported = configuration.get("n_qubits") if listed.qubits is None else listed.qubits
    return reported if isinstance(reported, int) else 0


def _queue_key(pending_jobs: int | None) -> float:
    """Return the key that sorts backends by their queues, unknown ones last."""
    return math.inf if pending_jobs is None else pending_jobs


def _is_dynamic(backend: RuntimeClientBackend) -> bool:
    features = backend._raw_configuration.get("supported_features")
    return isinstance(features, list) and "dynamic_circuits" in features


def _has(backend: RuntimeClientBackend, asked: Mapping[str, Any]) -> bool:
    missing = object()
    return all(getattr(backend, field, missing) == value for field, value in asked.items())
