"""The example flows, loaded as a deployment loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.flows import Flow, load_flow_from_entrypoint

FLOWS = Path(__file__).parents[2] / "flows"


def example_flow(name: str) -> Flow[..., Any]:
    """Return the flow of a file in `flows` that has its name."""
    return load_flow_from_entrypoint(f"{FLOWS / f'{name}.py'}:{name}")
