"""The example flows, loaded as a deployment loads them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from prefect.flows import Flow, load_flow_from_entrypoint

FLOWS = Path(__file__).parents[2] / "flows"


@cache
def example_flow(name: str) -> Flow[..., Any]:
    """Return the flow of a file in `flows` that has its name.

    A process loads a file once: Prefect gives the module of a second load a name that the workers
    of a cluster cannot import.
    """
    return load_flow_from_entrypoint(f"{FLOWS / f'{name}.py'}:{name}")
