"""How commands ask the service and show what comes back."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client import RuntimeApi

Answer = TypeVar("Answer")

Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs to read.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most this many.")]


def ask(question: Callable[[RuntimeApi], Awaitable[Answer]]) -> Answer:
    """Ask the embedded service of this machine; it is started if it does not run."""
    from prefect_qiskit_runtime.client import embedded_api

    async def connected() -> Answer:
        async with embedded_api() as api:
            return await question(api)

    return asyncio.run(connected())


def show_json(value: Any) -> None:
    """Write a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Write a table for a terminal; lines with tabs for everything else.

    Args:
        columns: Their titles.
        rows: A text for each column.
        empty: What to say when there are no rows.
    """
    rows = list(rows)
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    if not rows:
        typer.echo(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, title in enumerate(columns):
        table.add_column(title, no_wrap=number < 2)  # ids are there to be copied
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)


def show_fields(fields: Iterable[tuple[str, Any]]) -> None:
    """Write names and values below each other; what is None or empty is left out."""
    for name, value in fields:
        if value not in (None, "", [], {}):
            typer.echo(f"{name + ':':<20} {value}")


def local_time(moment: datetime | None) -> str:
    """Return a time for people: in their time zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""
