"""Instances of an account: found as the Qiskit Runtime client finds them, and one chosen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import AliasPath, Field

from prefect_qiskit_runtime.client._accounts import IbmAccount, is_crn
from prefect_qiskit_runtime.client._answers import Call
from prefect_qiskit_runtime.client._calls import read_items, read_json
from prefect_qiskit_runtime.client._transport import Transport
from prefect_qiskit_runtime.errors import (
    AccessDeniedError,
    ConfigurationError,
    NotFoundError,
    ProtocolError,
)
from prefect_qiskit_runtime.models import UNKNOWN, Instance, Side, Wire

_PAGE_SIZE = 100
_QUERY = "service_name:quantum-computing"
_FIELDS = ["crn", "service_plan_unique_id", "name", "doc", "tags"]


class _Found(Wire):
    """An instance as IBM Cloud's global search shows it."""

    crn: str = Field(min_length=1)
    name: Side[str] = ""
    plan_id: Side[str] = Field(default="", validation_alias="service_plan_unique_id")
    tags: Side[list[str]] = Field(default_factory=list)
    # Instances without it have no backends.
    allotted: Any = Field(default=None, validation_alias=AliasPath("doc", "extensions"))


@dataclass(frozen=True)
class InstanceSearch:
    """Where to search for instances.

    Attributes:
        search: IBM Cloud's global search.
        catalog: Its catalog of plans.
    """

    search: Transport
    catalog: Transport

    async def instances(self) -> list[Instance]:
        """Return the instances with backends, in the order in which they are found."""
        async with self.search, self.catalog:
            found = [found for found in await self._find() if found.allotted]
            plan_ids = list(dict.fromkeys(instance.plan_id for instance in found))
            plans = dict(
                zip(plan_ids, await asyncio.gather(*map(self._plan, plan_ids)), strict=True)
            )
        return [
            Instance(crn=one.crn, name=one.name, tags=one.tags, **plans[one.plan_id])
            for one in found
        ]

    async def _find(self) -> list[_Found]:
        call = Call("POST", "/v3/resources/search", "search your instances", repeatable=True)
        found: list[_Found] = []
        cursor: str | None = None
        passed: set[str] = set()
        while True:
            asked = {"query": _QUERY, "fields": _FIELDS}
            body = json.dumps({**asked, "search_cursor": cursor} if cursor else asked)
            response = await self.search.request(
                call,
                query={"limit": _PAGE_SIZE},
                content=body,
                headers={"Content-Type": "application/json"},
            )
            page = read_json(call, response)
            items = read_items(call, page, "items", _Found)
            found += items
            cursor = page.get("search_cursor")
            if not (isinstance(cursor, str) and cursor) or not items or cursor in passed:
                return found
            passed.add(cursor)

    async def _plan(self, plan_id: str) -> dict[str, str]:
        if not plan_id:
            return {"plan": UNKNOWN, "pricing_type": UNKNOWN}
        path = f"/{quote(plan_id, safe='')}"
        call = Call("GET", path, f"get the plan {plan_id}", "plan", plan_id, repeatable=True)
        try:
            entry = read_json(call, await self.catalog.request(call))
        except (AccessDeniedError, NotFoundError, ProtocolError):  # as for plans no longer sold
            return {"plan": UNKNOWN, "pricing_type": UNKNOWN}
        return {
            "plan": _text(entry, "overview_ui", "en", "display_name"),
            "pricing_type": _text(entry, "metadata", "pricing", "type"),
        }


def _text(entry: Any, *path: str) -> str:
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry.lower() if isinstance(entry, str) else UNKNOWN


def choose_instance(instances: Sequence[Instance], account: IbmAccount) -> Instance:
    """Return the only instance that matches an account.

    Raises:
        ConfigurationError: None or several match; jobs are never sent to an arbitrary one.
    """
    fitting = [instance for instance in instances if _fits(instance, account)]
    if len(fitting) == 1:
        return fitting[0]
    if not instances:
        raise ConfigurationError(
            "This account has no instance with backends. Make one at"
            " https://quantum.cloud.ibm.com/instances, or use the key of another account."
        )
    there_are = _listed(fitting or instances)
    if not fitting:
        raise ConfigurationError(f"No instance of this account {_wanted(account)}: {there_are}.")
    raise ConfigurationError(
        f"{len(fitting)} instances of this account {_wanted(account)}. Name the one to use by its"
        f" CRN: {there_are}."
    )


def _fits(instance: Instance, account: IbmAccount) -> bool:
    if account.instance is not None:
        return account.instance in (instance.name, instance.crn)
    return (
        (account.region is None or f":{account.region}:" in instance.crn)
        and (not account.plans or instance.plan in {plan.lower() for plan in account.plans})
        and {tag.lower() for tag in account.tags} <= {tag.lower() for tag in instance.tags}
    )


def _wanted(account: IbmAccount) -> str:
    if account.instance is not None:
        return f"{'is' if is_crn(account.instance) else 'has the name'} {account.instance!r}"
    asked = {"region": account.region, "plans": account.plans, "tags": account.tags}
    said = [
        f"{name} {value if isinstance(value, str) else ', '.join(value)}"
        for name, value in asked.items()
        if value
    ]
    return f"fit {' and '.join(said)}" if said else "could be meant"


def _listed(instances: Sequence[Instance]) -> str:
    return "; ".join(f"{one.name!r} ({one.plan}) {one.crn}" for one in instances)
