"""Query the service and print the answers, for all commands."""

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

Json = Annotated[bool, typer.Option("--json", help="Write machine-readable JSON.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most this many.")]


def ask(question: Callable[[RuntimeApi], Awaitable[Answer]]) -> Answer:
    """Query this machine's embedded service, starting it if it is not running."""
    from prefect_qiskit_runtime.client import embedded_api

    async def connected() -> Answer:
        async with embedded_api() as api:
            return await question(api)

    return asyncio.run(connected())


def show_json(value: Any) -> None:
    """Write a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Write a table to a terminal, or tab-separated lines to anything else.

    Args:
        columns: The column titles.
        rows: The rows, each with one text per column.
        empty: The message shown when there are no rows.
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
        table.add_column(title, no_wrap=number < 2)  # ids must stay easy to copy
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)


def show_fields(fields: Iterable[tuple[str, Any]]) -> None:
    """Write one name and value per line, omitting values that are None or empty."""
    for name, value in fields:
        if value not in (None, "", [], {}):
            typer.echo(f"{name + ':':<20} {value}")


def local_time(moment: datetime | None) -> str:
    """Return a time in the user's time zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""
