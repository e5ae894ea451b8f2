"""Artifacts of a flow in Prefect's UI: progress, convergence plots, distributions, tables.

`plot_convergence`, `plot_distribution`, `render_figure` and `markdown_table` only write markdown;
give it to Prefect's own `create_markdown_artifact`. `ProgressReporter` keeps one progress artifact
up to date without asking Prefect's API more often than its limits allow, `LoopReporter` all that
there is to see of a loop.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import html
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from prefect.artifacts import (
    Artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import SyncClientContext

from prefect_qiskit_runtime.renamed import old_functions
from prefect_qiskit_runtime.twins.sync import blocking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")

_LONG_POINT = 2000
"""Characters: about a hundred parameters."""


class ProgressReporter:
    """One progress artifact of a flow run, updated at most every few seconds.

    Prefect Cloud's free tier accepts 625 requests a minute from all flows together, and a loop may
    iterate a hundred times a second: reports that come too early are left out. The first and the
    last report (100 percent) are always sent.

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
        """Create a reporter; the first report creates the artifact.

        Args:
            key: Shows the artifact on the UI's artifacts page, besides the page of the flow run.
                Lower-case letters, digits and dashes.
            description: Description of the work in progress.
            min_interval_seconds: Leave out reports that come sooner after the last one.
        """
        self._key = key
        self._description = description
        self._min_interval_seconds = min_interval_seconds
        self.artifact_id: UUID | None = None
        self._reported_at = -math.inf

    async def areport(self, percent: float, description: str | None = None) -> bool:
        """Report progress.

        Args:
            percent: From 0 to 100; values outside are set to the nearer limit.
            description: Replaces the previous description.

        Returns:
            Whether the report was sent, rather than left out because it came too early.
        """
        percent = min(max(percent, 0.0), 100.0)
        now = time.monotonic()
        if percent < 100 and now - self._reported_at < self._min_interval_seconds:
            return False
        self._reported_at = now
        self._description = description or self._description
        values = {"progress": percent, "description": self._description}
        if self.artifact_id is None:
            create = acreate_progress_artifact, create_progress_artifact
            self.artifact_id = await over_open_connection(*create, **values, key=self._key)
        else:
            update = aupdate_progress_artifact, update_progress_artifact
            await over_open_connection(*update, **values, artifact_id=self.artifact_id)
        return True

    report = blocking(areport)


async def over_open_connection(
    ask: Callable[..., Awaitable[T]], ask_sync: Callable[..., Any], **arguments: Any
) -> T:
    """Call Prefect's API over the run's connection: opening a new one takes 30 ms of CPU.

    Args:
        ask: Makes the call over its own connection.
        ask_sync: Its synchronous twin, which uses the run's connection.
        arguments: Arguments of both.
    """
    if SyncClientContext.get() is None:
        return await ask(**arguments)
    return await asyncio.to_thread(partial(ask_sync, **arguments, _sync=True))


class LoopReporter:
    """Shows a loop while it runs: progress, plot, best point, cost so far, and a table.

    The reporter updates four artifacts of the flow run in place: `<key>-progress`;
    `<key>-convergence` with the plot, the best point and the cost; `<key>-table`, a table artifact
    with a row for each iteration (with more than about a hundred parameters, only the best row
    lists them); and `<key>-csv`, from which Prefect's UI saves the table as a file. Drawing and
    writing take at most a tenth of the loop's time; the progress does not wait for them.

    ```python
    reporter = LoopReporter(key="my-loop", title="My loop", maxiter=100)
    result = minimize(objective, start, backend=backend, maxiter=100, callback=lambda step:
                      reporter.add(step.value, std=step.std, parameters=step.point))
    reporter.finish()
    ```
    """

    def __init__(
        self,
        *,
        key: str,
        title: str,
        maxiter: int,
        value_label: str = "energy (hartree)",
        references: Mapping[str, float] | None = None,
        target: str | None = None,
        min_interval_seconds: float = 3.0,
    ) -> None:
        """Create a reporter; the first iteration creates the artifacts.

        Args:
            key: Beginning of the artifacts' keys. Lower-case letters, digits and dashes.
            title: Purpose of the loop, in a few words.
            maxiter: Its most iterations, for the progress.
            value_label: As in `plot_convergence`.
            references: As in `plot_convergence`.
            target: As in `plot_convergence`.
            min_interval_seconds: Bring them up to date no more often.
        """
        self._key = key
        self._title = title
        self._maxiter = maxiter
        self._plotted: dict[str, Any] = {
            "title": title, "value_label": value_label, "references": references, "target": target
        }  # fmt: skip
        self._min_interval_seconds = min_interval_seconds
        self._progress = ProgressReporter(
            key=f"{key}-progress", description=title, min_interval_seconds=min_interval_seconds
        )
        self._rows: list[dict[str, Any]] = []
        self._costs: dict[str, Any] = {}
        self._ids: dict[str, UUID] = {}
        self._next_at = -math.inf

    @property
    def artifact_ids(self) -> dict[str, UUID]:
        """The artifacts by the suffixes of their keys; empty before the first iteration."""
        progress_id = self._progress.artifact_id
        return {} if progress_id is None else {"progress": progress_id, **self._ids}

    async def aadd(
        self,
        value: float,
        *,
        std: float = 0.0,
        parameters: Iterable[float] = (),
        iteration: int | None = None,
        **costs: Any,
    ) -> bool:
        """Add an iteration.

        Args:
            value: The value of the objective.
            std: Its standard error; 0 if the value is exact, NaN if the error is unknown.
            parameters: The parameters of the value.
            iteration: Its number; default: the next one. An iteration that is added again, for
                example after a crash, replaces the earlier one.
            costs: Costs of the loop so far, such as `jobs=3`; each is a column of the table.

        Returns:
            Whether the artifacts were updated, rather than left because the call came too early.
        """
        following = self._rows[-1]["iteration"] + 1 if self._rows else 0
        number = following if iteration is None else iteration
        while self._rows and self._rows[-1]["iteration"] >= number:
            self._rows.pop()
        row = {"iteration": number, "value": float(value), "standard error": _known(std)}
        point = json.dumps([float(one) for one in parameters])
        self._rows.append({**row, **costs, "parameters": point})
        self._costs = costs
        # 100 percent is left to `finish`: an optimizer may stop early or measure once more.
        reported = await self._show_progress(min(99.0, 100 * number / self._maxiter))
        started = time.monotonic()
        if started < self._next_at:
            return reported
        await self._show_rows()
        # Measures the rows only: the first picture on a machine takes seconds, to load its fonts.
        took_seconds = time.monotonic() - started
        self._next_at = started + max(self._min_interval_seconds, 10 * took_seconds)
        return True

    add = blocking(aadd)

    async def afinish(self, **costs: Any) -> None:
        """Report that the loop has ended, and update all artifacts.

        Args:
            costs: Costs of the whole loop, as in `add`, if they are higher than at the last
                iteration, for example because its result is measured once more.
        """
        self._costs = {**self._costs, **costs}
        await self._show_progress(100.0)
        await self._show_rows()

    finish = blocking(afinish)

    async def _show_progress(self, percent: float) -> bool:
        costs = ", ".join(f"{value} {name}" for name, value in self._costs.items())
        return await self._progress.areport(
            percent, f"{self._title}: {costs}" if costs else self._title
        )

    async def _show_rows(self) -> None:
        if not self._rows:
            return
        text = await asyncio.to_thread(self._markdown)
        makers = acreate_markdown_artifact, create_markdown_artifact
        await self._put("convergence", text, makers, markdown=text)
        makers, rows = (acreate_table_artifact, create_table_artifact), self._table()
        await self._put("table", json.dumps(rows), makers, table=rows)
        page = file_to_save(csv_text(rows), f"{self._key}.csv")
        makers = _acreate_page_artifact, _create_page_artifact
        await self._put("csv", page, makers, page=page)

    async def _put(self, suffix: str, data: Any, makers: Any, **made_of: Any) -> None:
        """Create an artifact, or replace the data of an existing one."""
        if suffix in self._ids:
            await _change_artifact(self._ids[suffix], data)
            return
        named = {"key": f"{self._key}-{suffix}", "description": f"Iterations: {self._title}"}
        self._ids[suffix] = await over_open_connection(*makers, **named, **made_of)

    @property
    def _best(self) -> dict[str, Any]:
        return min(self._rows, key=lambda row: row["value"])

    def _table(self) -> list[dict[str, Any]]:
        """Return the rows; only the best row keeps long parameters, since all rows are resent."""
        best = self._best
        return [
            row
            if row is best or len(row["parameters"]) < _LONG_POINT
            else {**row, "parameters": ""}
            for row in self._rows
        ]

    def _markdown(self) -> str:
        errors = [row["standard error"] or 0.0 for row in self._rows]
        plot = plot_convergence(
            [row["value"] for row in self._rows],
            errors=errors if any(errors) else None,
            iterations=[row["iteration"] for row in self._rows],
            **self._plotted,
        )
        best = self._best
        std = f" ± {best['standard error']:.3g}" if best["standard error"] else ""
        facts = {
            "Lowest so far": f"{best['value']:.9g}{std}, iteration {best['iteration']}",
            "Parameters there": ", ".join(f"{one:.6f}" for one in json.loads(best["parameters"])),
            **{f"Cost so far: {name}": value for name, value in self._costs.items()},
        }
        return f"{plot}\n\n{markdown_table(facts, header=('Quantity', 'Value'))}"


class PageArtifact(Artifact):
    """An artifact that Prefect's UI shows as a page in a frame, such as a page of `file_to_save`.

    `prefect.artifacts.Artifact(type="rich", ...)` stores its data as text, and the frame is empty.

    ```python
    PageArtifact(key="my-file", data=file_to_save(csv_text(rows), "my-file.csv")).create()
    ```
    """

    type: str | None = "rich"
    data: dict[str, Any]  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]

    async def aformat(self) -> dict[str, Any]:
        """Return the data to store: the page, as the object that the UI reads."""
        return self.data

    def format(self, *, _sync: bool = True) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the data to store, as `aformat`."""
        return self.data


async def _acreate_page_artifact(page: dict[str, Any], **named: Any) -> UUID:
    return (await PageArtifact(data=page, **named).acreate()).id


def _create_page_artifact(page: dict[str, Any], *, _sync: bool, **named: Any) -> UUID:
    created: Any = PageArtifact(data=page, **named).create(_sync=_sync)  # pyright: ignore[reportCallIssue]
    return created.id


async def _change_artifact(artifact_id: UUID, data: Any) -> None:
    """Replace the data of an artifact."""
    change, context = ArtifactUpdate(data=data), SyncClientContext.get()
    if context is not None:
        await asyncio.to_thread(context.client.update_artifact, artifact_id, change)
        return
    async with get_client() as client:
        await client.update_artifact(artifact_id, change)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as CSV, with a header of column names.

    Args:
        rows: The values by column; a row may lack some columns.
    """
    text = StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def file_to_save(text: str, name: str) -> dict[str, Any]:
    """Return the data of a `PageArtifact`: a page with a link that saves a file.

    Args:
        text: Content of the file.
        name: Name of the file.

    Returns:
        Data for `PageArtifact(data=…)`. The UI shows the page in a frame that may only save files.
    """
    encoded = base64.b64encode(text.encode()).decode("ascii")
    link = f'<a download="{html.escape(name)}" href="data:text/plain;base64,{encoded}">'
    style = "font: 1rem sans-serif; color: #111; background: #fff"
    body = f"{link}Save {html.escape(name)}</a> ({len(text.encode())} bytes)"
    page = f'<!doctype html><body style="{style}">{body}</body>'
    return {"html": page, "sandbox": ["allow-downloads"]}


def _known(std: float) -> float | None:
    return None if math.isnan(std) else float(std)


def plot_convergence(
    values: Sequence[float],
    *,
    title: str,
    value_label: str = "energy (hartree)",
    errors: Sequence[float] | None = None,
    references: Mapping[str, float] | None = None,
    target: str | None = None,
    iterations: Sequence[int] | None = None,
) -> str:
    """Draw how a value converges, as markdown with an embedded picture.

    Args:
        values: One value for each iteration, the starting point first.
        title: Title of the picture, and its text where pictures are not shown.
        value_label: Name and unit of the values.
        errors: Standard errors of the values, drawn as bars; None if the values are exact.
        references: Horizontal lines to compare with, by name.
        target: Name of a reference; adds a second picture of the distance to it, on a
            logarithmic scale.
        iterations: Numbers of the iterations; default: from 0.

    Returns:
        Markdown; the picture is a PNG in a data URI, the only form that Prefect's UI renders.
    """
    # Not pyplot: its global state is not thread-safe, and it may require a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6 if target is None else 6.4), dpi=110, layout="constrained")
    rows = 1 if target is None else 2
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    references = references or {}
    numbers = range(len(values)) if iterations is None else iterations
    axes[0].errorbar(numbers, values, yerr=errors, marker=".", capsize=2, label="measured")
    _draw_references(axes[0], references)
    axes[0].set(title=title, ylabel=value_label)
    if target is not None:
        distances = [abs(value - references[target]) for value in values]
        axes[1].plot(numbers, distances, marker=".", color="tab:red")
        # A logarithmic scale cannot show distances that are all zero.
        if any(distances):
            axes[1].set_yscale("log")
        axes[1].set(ylabel=f"distance to {target}")
        axes[1].grid(visible=True, alpha=0.3)
    axes[-1].set(xlabel="iteration")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return render_figure(figure, title)


def render_figure(figure: Figure, title: str) -> str:
    """Write a figure of matplotlib as markdown, a PNG in a data URI: what Prefect's UI renders.

    Args:
        figure: A figure made without pyplot, whose global state is not thread-safe.
        title: The text where pictures are not shown.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return (
        f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')})"
    )


def _draw_references(axes: Axes, references: Mapping[str, float]) -> None:
    for number, (name, value) in enumerate(references.items(), 1):
        axes.axhline(value, linestyle="--", color=f"C{number}", label=name)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def plot_distribution(counts: Mapping[str, int], *, title: str, most: int = 16) -> str:
    """Draw how often each outcome was measured, as markdown with the picture in it.

    Args:
        counts: Counts by bitstring.
        title: Title of the picture, and its text where pictures are not shown.
        most: Maximum number of outcomes to draw, the most frequent first; the others are one bar.
    """
    from matplotlib.figure import Figure

    shots = sum(counts.values())
    frequent = sorted(counts, key=lambda outcome: -counts[outcome])[:most]
    parts = {outcome: counts[outcome] / shots for outcome in sorted(frequent)}
    if len(counts) > most:
        parts["others"] = 1 - sum(parts.values())
    errors = [math.sqrt(part * (1 - part) / shots) for part in parts.values()]
    figure = Figure(figsize=(7, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.bar(list(parts), list(parts.values()), yerr=errors, capsize=2)
    axes.set(title=title, ylabel=f"part of {shots} shots", xlabel="outcome, qubit 0 rightmost")
    axes.tick_params(axis="x", rotation=90 if len(parts) > 4 else 0)
    return render_figure(figure, title)


def markdown_table(rows: Mapping[str, Any], *, header: tuple[str, str] = ("", "")) -> str:
    """Return names and values as a markdown table, one row each.

    Args:
        rows: The values by name; None is left out.
        header: Headings of the two columns.
    """
    lines = [f"| {header[0]} | {header[1]} |", "| --- | --- |"]
    lines += [
        f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items() if value is not None
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


if not TYPE_CHECKING:  # for type checkers it would make every name of the module right
    __getattr__ = old_functions(__name__)
