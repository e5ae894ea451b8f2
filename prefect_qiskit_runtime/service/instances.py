"""The single instance of a service, under the name that the clients of each channel use.

A user has one instance: jobs created through one channel are found through every other. The
instance that a client names (a CRN, or hub/group/project) is therefore ignored.
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from prefect_qiskit_runtime.service.store.records import Owner

# As in IBM's open plan, because published samples use these names.
HUB, GROUP, PROJECT = "ibm-q", "open", "main"

PLAN = "prefect-qiskit-runtime"
_NAME = "team"


def hubs() -> list[dict[str, Any]]:
    """Return hubs, groups and projects in IBM's format."""
    project = {"name": PROJECT, "isDefault": True}
    group = {"name": GROUP, "isDefault": True, "projects": {PROJECT: project}}
    return [{"name": HUB, "groups": {GROUP: group}}]


def is_ours(*parts: str) -> bool:
    """Return whether these are this service's hub, group and project."""
    return parts == (HUB, GROUP, PROJECT)


def crn(owner: Owner) -> str:
    """Return the cloud resource name of a user's instance; it never changes."""
    account, instance = (
        uuid5(NAMESPACE_URL, f"{PLAN}/{kind}/{owner.user}") for kind in ("account", "instance")
    )
    return f"crn:v1:bluemix:public:quantum-computing:us-east:a/{account.hex}:{instance}::"


def search_items(owner: Owner) -> list[dict[str, Any]]:
    """Return a user's instances as IBM's global search shows them."""
    return [
        {
            "crn": crn(owner),
            "name": _NAME,
            "service_plan_unique_id": PLAN,
            "tags": [],
            # qiskit-ibm-runtime skips instances without it, as having no backends.
            "doc": {"extensions": {"backends": "all"}},
        }
    ]


def catalog_entry() -> dict[str, Any]:
    """Return the plan of every instance as IBM's global catalog shows it."""
    return {
        "id": PLAN,
        "name": PLAN,
        "overview_ui": {"en": {"display_name": "Open"}},
        "metadata": {"pricing": {"type": "free"}},
    }
