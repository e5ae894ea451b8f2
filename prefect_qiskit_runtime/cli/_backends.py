"""Commands on backends: ls."""

from __future__ import annotations

import typer

from prefect_qiskit_runtime.cli._output import Json, ask, show_json, show_table

app = typer.Typer(
    no_args_is_help=True, help="Backends: the devices and simulators that run circuits."
)


@app.callback()
def backends() -> None:
    """Backends: the devices and simulators that run circuits."""


@app.command("ls")
def list_backends(*, as_json: Json = False) -> None:
    """List backends with their number of qubits and queue length."""
    found = ask(lambda api: api.list_backends())
    if as_json:
        show_json([backend.model_dump(mode="json") for backend in found])
        return
    show_table(
        ("BACKEND", "QUBITS", "SIMULATOR", "QUEUE"),
        (
            (
                backend.name,
                "" if backend.qubits is None else str(backend.qubits),
                "yes" if backend.simulator else "no",
                "" if backend.queue_length is None else str(backend.queue_length),
            )
            for backend in found
        ),
        empty="No backends.",
    )
