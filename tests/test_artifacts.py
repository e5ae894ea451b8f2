"""What the artifact helpers write."""

from __future__ import annotations

import base64
import re

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId
from prefect.utilities.asyncutils import run_coro_as_sync

from prefect_qiskit_runtime import artifacts
from prefect_qiskit_runtime.artifacts import ProgressReporter, convergence_plot, markdown_table


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


def test_a_plot_is_a_png_in_a_data_uri():
    plot = convergence_plot(
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
    plot = convergence_plot([1.0, 1.0], title="A loop", references={"exact": 1.0}, target="exact")

    assert plot.startswith("![A loop](data:image/png;base64,")


def test_a_table_leaves_none_out_and_keeps_its_columns():
    table = markdown_table({"a": 1, "b": None, "c": "x|y\nz"}, header=("Name", "Value"))

    assert table.splitlines() == [
        "| Name | Value |",
        "| --- | --- |",
        "| a | 1 |",
        "| c | x\\|y z |",
    ]
