"""The artifacts that the helpers write."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId
from prefect.utilities.asyncutils import run_coro_as_sync

from prefect_qiskit_runtime import artifacts
from prefect_qiskit_runtime.artifacts import (
    LoopReporter,
    PageArtifact,
    ProgressReporter,
    file_to_save,
    markdown_table,
    plot_convergence,
    plot_distribution,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(artifacts, "time", clock)
    return clock


def stored(reporter: ProgressReporter) -> tuple[float, str | None]:
    with get_client(sync_client=True) as client:
        (found,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(id=ArtifactFilterId(any_=[reporter.artifact_id]))
        )
    return float(found.data), found.description


def test_a_report_that_comes_too_early_is_left_out(prefect_server, clock):
    reporter = ProgressReporter(description="a loop", min_interval_seconds=2)

    @flow
    def loop() -> list[bool]:
        sent = [reporter.report(0)]
        clock.now += 1.9
        sent.append(reporter.report(10))
        clock.now += 0.2
        sent.append(reporter.report(20))
        return sent

    assert loop() == [True, False, True]
    assert stored(reporter) == (20.0, "a loop")


def test_the_last_report_is_never_left_out(prefect_server, clock):
    reporter = ProgressReporter(description="a loop")

    @flow
    def loop() -> list[bool]:
        return [reporter.report(0), reporter.report(100, "done")]

    assert loop() == [True, True]
    assert stored(reporter) == (100.0, "done")


def test_a_report_out_of_range_is_moved_into_it(prefect_server, clock):
    reporter = ProgressReporter()

    @flow
    def loop() -> bool:
        return reporter.report(250)

    assert loop() is True
    assert stored(reporter)[0] == 100.0


def test_the_async_twin_reports_too(prefect_server, clock):
    reporter = ProgressReporter(description="a loop")

    @flow
    async def loop() -> list[bool]:
        return [await reporter.areport(5), await reporter.areport(6)]

    # Prefect's own loop: it lives on, and with it the connections that Prefect keeps in it.
    assert run_coro_as_sync(loop()) == [True, False]
    assert stored(reporter) == (5.0, "a loop")


def shown(reporter: LoopReporter) -> dict[str, Any]:
    """Return the content of the artifacts of a loop, by the end of their keys."""
    ids = list(reporter.artifact_ids.values())
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(id=ArtifactFilterId(any_=ids)))
    assert len(found) == len(ids) == 4
    return {str(artifact.key).rpartition("-")[2]: artifact.data for artifact in found}


def test_a_loop_is_shown_in_place_and_not_too_often(prefect_server, clock):
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=10, min_interval_seconds=3)

    @flow
    def loop() -> list[bool]:
        sent = []
        for number in range(4):
            sent.append(reporter.add(1.0 / (1 + number), parameters=[number], jobs=number))
            clock.now += 1.6
        return sent

    assert loop() == [True, False, True, False]
    artifacts = shown(reporter)
    assert float(artifacts["progress"]) == 20.0
    assert "| Lowest so far | 0.333333333, iteration 2 |" in artifacts["convergence"]
    assert [row["iteration"] for row in json.loads(artifacts["table"])] == [0, 1, 2]


def test_the_end_of_a_loop_is_shown_whole(prefect_server, clock):
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=10)

    @flow
    def loop() -> None:
        reporter.add(2.0, std=0.1, parameters=[0.5], jobs=1)
        reporter.add(1.0, std=float("nan"), parameters=[0.25], jobs=2)
        reporter.finish()

    loop()
    artifacts = shown(reporter)
    assert float(artifacts["progress"]) == 100.0
    assert "| Parameters there | 0.250000 |" in artifacts["convergence"]
    assert "| Cost so far: jobs | 2 |" in artifacts["convergence"]
    assert json.loads(artifacts["table"])[-1] == {
        "iteration": 1, "value": 1.0, "standard error": None, "jobs": 2, "parameters": "[0.25]"
    }  # fmt: skip
    assert artifacts["csv"] == file_to_save(
        "iteration,value,standard error,jobs,parameters\n0,2.0,0.1,1,[0.5]\n1,1.0,,2,[0.25]\n",
        "a-loop.csv",
    )


def test_the_file_of_a_loop_can_be_saved_after_the_first_report(prefect_server, clock):
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=10)

    @flow
    def loop() -> bool:
        return reporter.add(2.0)

    assert loop()
    assert shown(reporter)["csv"] == file_to_save(
        "iteration,value,standard error,parameters\n0,2.0,0.0,[]\n", "a-loop.csv"
    )


def test_the_page_of_a_file_is_stored_as_the_object_that_the_ui_reads(prefect_server):
    page = file_to_save("a,b\n1,2\n", "a-file.csv")

    @flow
    def create() -> Any:
        return PageArtifact(key="a-file", data=page).create(_sync=True)  # pyright: ignore[reportCallIssue]

    @flow
    async def acreate() -> Any:
        return await PageArtifact(key="an-async-file", data=page).acreate()

    for created in (create(), run_coro_as_sync(acreate())):
        assert (created.type, created.data) == ("rich", page)


def test_the_end_of_a_loop_states_what_it_cost_as_a_whole(prefect_server, clock):
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=1)

    @flow
    def loop() -> None:
        reporter.add(2.0, jobs=1, energies=46)
        reporter.finish(energies=47)

    loop()
    artifacts = shown(reporter)
    assert "| Cost so far: jobs | 1 |" in artifacts["convergence"]
    assert "| Cost so far: energies | 47 |" in artifacts["convergence"]
    assert json.loads(artifacts["table"])[-1]["energies"] == 46
    assert stored(reporter._progress) == (100.0, "A loop: 1 jobs, 47 energies")


def test_progress_goes_on_where_pictures_take_long(prefect_server, clock, monkeypatch):
    def draw(*_args: Any, **_fields: Any) -> str:
        clock.now += 9
        return "drawn"

    monkeypatch.setattr(artifacts, "plot_convergence", draw)
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=10)

    @flow
    def loop() -> list[bool]:
        return [reporter.add(1.0), reporter.add(0.5)]

    assert loop() == [True, True]
    artifacts_shown = shown(reporter)
    assert float(artifacts_shown["progress"]) == 10.0
    assert len(json.loads(artifacts_shown["table"])) == 1


def test_iterations_that_come_again_take_their_places(prefect_server, clock):
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=10)

    @flow
    def loop() -> None:
        for number, value in ((5, 1.0), (6, 2.0), (7, 3.0), (6, 2.5)):
            reporter.add(value, iteration=number)
        reporter.finish()

    loop()
    rows = json.loads(shown(reporter)["table"])
    assert [(row["iteration"], row["value"]) for row in rows] == [(5, 1.0), (6, 2.5)]


def test_of_long_points_the_table_has_the_best_one(prefect_server, clock):
    reporter = LoopReporter(key="a-loop", title="A loop", maxiter=10)

    @flow
    def loop() -> None:
        for value in (2.0, 1.0, 3.0):
            reporter.add(value, parameters=[value] * 1000)
        reporter.finish()

    loop()
    rows = json.loads(shown(reporter)["table"])
    assert [row["value"] for row in rows] == [2.0, 1.0, 3.0]
    assert [row["parameters"] for row in rows] == ["", json.dumps([1.0] * 1000), ""]


def test_outcomes_that_are_rare_are_one_bar(monkeypatch):
    drawn = []
    monkeypatch.setattr(artifacts, "render_figure", lambda figure, _: drawn.append(figure) or "")
    plot_distribution({"00": 500, "01": 100, "10": 300, "11": 100}, title="State", most=2)

    (figure,) = drawn
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["00", "10", "others"]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.5, 0.3, 0.2])


def test_a_plot_is_a_png_in_a_data_uri():
    plot = plot_convergence(
        [3.0, 2.0, 1.5],
        title="A loop",
        errors=[0.1, 0.1, 0.1],
        references={"exact": 1.0},
        target="exact",
    )

    picture = re.fullmatch(r"!\[A loop\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", plot)
    assert picture is not None
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")


def test_a_plot_of_values_that_hit_the_target_is_drawn():
    plot = plot_convergence([1.0, 1.0], title="A loop", references={"exact": 1.0}, target="exact")

    assert plot.startswith("![A loop](data:image/png;base64,")


def test_a_table_leaves_none_out_and_keeps_its_columns():
    table = markdown_table({"a": 1, "b": None, "c": "x|y\nz"}, header=("Name", "Value"))

    assert table.splitlines() == [
        "| Name | Value |",
        "| --- | --- |",
        "| a | 1 |",
        "| c | x\\|y z |",
    ]
