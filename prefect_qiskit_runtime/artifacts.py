"""What a flow shows in Prefect's UI: progress, convergence plots, tables.

`convergence_plot`, `picture` and `markdown_table` only write markdown; give it to Prefect's own
`create_markdown_artifact`. `ProgressReporter` keeps one progress artifact up to date without
asking Prefect's API more often than its limits allow.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from prefect.artifacts import (
    acreate_progress_artifact,
    aupdate_progress_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.context import SyncClientContext

from prefect_qiskit_runtime._sync import run_sync

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")


class ProgressReporter:
    """One progress artifact of a flow run, updated at most every few seconds.

    Prefect Cloud's free tier takes 625 requests a minute from all flows together, and a loop may
    iterate a hundred times a second: what comes too early is left out. The first and the last
    report (100 percent) always go through.

    ```python
    progress = ProgressReporter(key="my-loop-progress", description="Iterations of my loop")
    run_program(program_id, inputs, backend=backend, callback=lambda job_id, interim:
                progress.report(100 * interim["iteration"] / maxiter))
    progress.report(100)
    ```

    Attributes:
        artifact_id: The artifact; None before the first report.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        description: str | None = None,
        min_interval_seconds: float = 2.0,
    ) -> None:
        """Create a reporter; the artifact itself is made by the first report.

        Args:
            key: Shows it on the UI's page of artifacts, besides that of the flow run. Lower-case
                letters, digits and dashes.
            description: What makes progress.
            min_interval_seconds: Leave out reports that come earlier after the last one.
        """
        self._key = key
        self._description = description
        self._min_interval_seconds = min_interval_seconds
        self.artifact_id: UUID | None = None
        self._reported_at = -math.inf

    async def areport(self, percent: float, description: str | None = None) -> bool:
        """Report progress.

        Args:
            percent: From 0 to 100; what lies outside is moved to the nearer end.
            description: In place of the one before.

        Returns:
            Whether it was sent, or left out because it came too early.
        """
        percent = min(max(percent, 0.0), 100.0)
        now = time.monotonic()
        if percent < 100 and now - self._reported_at < self._min_interval_seconds:
            return False
        self._reported_at = now
        self._description = description or self._description
        told = {"progress": percent, "description": self._description}
        if self.artifact_id is None:
            create = acreate_progress_artifact, create_progress_artifact
            self.artifact_id = await over_open_connection(*create, **told, key=self._key)
        else:
            update = aupdate_progress_artifact, update_progress_artifact
            await over_open_connection(*update, **told, artifact_id=self.artifact_id)
        return True

    def report(self, percent: float, description: str | None = None) -> bool:
        """Report progress; the synchronous twin of `areport`."""
        return run_sync(self.areport(percent, description))


async def over_open_connection(
    ask: Callable[..., Awaitable[T]], ask_sync: Callable[..., Any], **what: Any
) -> T:
    """Ask Prefect over the connection that a run has: to open one takes 30 ms of CPU.

    Args:
        ask: What asks over a connection of its own.
        ask_sync: Its synchronous twin, which takes that of the run.
        what: Arguments of either.
    """
    if SyncClientContext.get() is None:
        return await ask(**what)
    return await asyncio.to_thread(partial(ask_sync, **what, _sync=True))


def convergence_plot(
    values: Sequence[float],
    *,
    title: str,
    value_label: str = "energy (hartree)",
    errors: Sequence[float] | None = None,
    references: Mapping[str, float] | None = None,
    target: str | None = None,
) -> str:
    """Draw how a value converges, as markdown with the picture in it.

    Args:
        values: One per iteration, the starting point first.
        title: Above the picture, and in place of it where pictures are not shown.
        value_label: Name and unit of the values.
        errors: Standard errors of the values, drawn as bars; None where they are exact.
        references: Horizontal lines to compare with, by name.
        target: Name of a reference; adds a second picture of the distance to it, on a
            logarithmic scale.

    Returns:
        Markdown; the picture is a PNG in a data URI, the one form that Prefect's UI renders.
    """
    # Not pyplot: its global state is not made for threads, and it may look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6 if target is None else 6.4), dpi=110, layout="constrained")
    rows = 1 if target is None else 2
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    references = references or {}
    _draw_values(axes[0], values, errors, references)
    axes[0].set(title=title, ylabel=value_label)
    if target is not None:
        distances = [abs(value - references[target]) for value in values]
        axes[1].plot(distances, marker=".", color="tab:red")
        # Nothing to show on a logarithmic scale if every distance is zero.
        if any(distances):
            axes[1].set_yscale("log")
        axes[1].set(ylabel=f"distance to {target}")
        axes[1].grid(visible=True, alpha=0.3)
    axes[-1].set(xlabel="iteration")
    return picture(figure, title)


def picture(figure: Figure, title: str) -> str:
    """Write a figure of matplotlib as markdown, a PNG in a data URI: what Prefect's UI renders.

    Args:
        figure: Made without pyplot, whose global state is not made for threads.
        title: What is read where pictures are not shown.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return (
        f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')})"
    )


def _draw_values(
    axes: Axes,
    values: Sequence[float],
    errors: Sequence[float] | None,
    references: Mapping[str, float],
) -> None:
    axes.errorbar(range(len(values)), values, yerr=errors, marker=".", capsize=2, label="measured")
    for number, (name, value) in enumerate(references.items(), 1):
        axes.axhline(value, linestyle="--", color=f"C{number}", label=name)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def markdown_table(rows: Mapping[str, Any], *, header: tuple[str, str] = ("", "")) -> str:
    """Write names and values as a markdown table, one row each.

    Args:
        rows: The values by name; None is left out.
        header: Above the two columns.
    """
    lines = [f"| {header[0]} | {header[1]} |", "| --- | --- |"]
    lines += [
        f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items() if value is not None
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
