"""The part of the protocol about instances and backends: where jobs belong and where they run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr, ValidationError

from prefect_qiskit_runtime.client._account import origin
from prefect_qiskit_runtime.client._answers import Call, malformed
from prefect_qiskit_runtime.client._calls import read_json, read_model, utc_text
from prefect_qiskit_runtime.client._instances import InstanceSearch
from prefect_qiskit_runtime.client._transport import Query, Transport
from prefect_qiskit_runtime.models import BackendStatus, Instance, InstanceUsage


class BackendCalls(Transport):
    """Asks one Runtime service for its instances and backends."""

    def active_account(self) -> dict[str, Any] | None:
        """Return who asks, as the Qiskit Runtime services say it; the token stays hidden."""
        return {"url": self._url, "token": SecretStr(self._token), "instance": self._instance}

    async def list_instances(self) -> list[Instance]:
        """Return the instances that this user may use."""
        return await self._instance_search().instances()

    async def usage(self) -> InstanceUsage:
        """Return how much time of backends the instance has used, and its limit."""
        call = Call("GET", "/instances/usage", "get the usage of the instance", repeatable=True)
        return read_model(call, await self.request(call), InstanceUsage)

    def _instance_search(self) -> InstanceSearch:
        here = origin(self._url)
        return InstanceSearch(self._at(here), self._at(f"{here}/catalog/api/v1"))

    def _at(self, url: str) -> Transport:
        """Return a connection to another page of the same service."""
        return Transport(
            url, self._token, verify=self._verify, proxies=self._proxies, settings=self._settings
        )

    async def list_backends(self) -> list[BackendStatus]:
        """Return the backends of the service."""
        call = Call("GET", "/backends", "list backends", repeatable=True)
        body = read_json(call, await self.request(call))
        try:
            return [
                _backend_status(device)
                for device in body["devices"]
                if device.get("class") != "mock"  # IBM's, which check jobs and compute nothing
            ]
        except (KeyError, TypeError, AttributeError, ValidationError) as exc:
            raise malformed(call, exc) from exc

    async def backend_configuration(
        self, name: str, *, calibration_id: str | None = None
    ) -> dict[str, Any]:
        """Return the configuration of a backend, in IBM's form.

        Args:
            name: The backend.
            calibration_id: As it was with this calibration; None for the newest.
        """
        return await self._backend_page(name, "configuration", {"calibration_id": calibration_id})

    async def backend_properties(
        self,
        name: str,
        *,
        updated_before: datetime | None = None,
        calibration_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the calibration of a backend, in IBM's form; empty for an ideal one.

        Args:
            name: The backend.
            updated_before: The last one before this time; None for the newest.
            calibration_id: The one of this id; None for the newest.
        """
        query = {"updated_before": utc_text(updated_before), "calibration_id": calibration_id}
        return await self._backend_page(name, "properties", query)

    async def backend_status(self, name: str) -> dict[str, Any]:
        """Return `state`, `status`, `length_queue` and `backend_version` of a backend."""
        return await self._backend_page(name, "status")

    async def _backend_page(
        self, name: str, page: str, query: Query | None = None
    ) -> dict[str, Any]:
        path = f"/backends/{quote(name, safe='')}/{page}"
        doing = f"get the {page} of backend {name}"
        if (calibration_id := (query or {}).get("calibration_id")) is not None:
            doing += f" with calibration {calibration_id!r}"
        call = Call("GET", path, doing, "backend", name, True)
        return read_json(call, await self.request(call, query=query))


def _backend_status(device: Mapping[str, Any]) -> BackendStatus:
    return BackendStatus(
        name=device["name"],
        qubits=device["qubits"],
        # As IBM says it, and as services of this package did.
        simulator=device.get("is_simulator", device.get("simulator", False)),
        operational=device.get("status", {}).get("name") == "online",
        queue_length=device.get("queue_length", 0),
    )
