"""What the blocks, forms and artifacts of this package are like in a browser.

`make browser` runs all of it and takes the pictures of the documentation.
"""

from __future__ import annotations

import re

import pytest

from prefect_qiskit_runtime import RuntimeBackend
from tests.browser.conftest import Served
from tests.browser.ui import Ui
from tests.deployments.conftest import until


def test_a_backend_is_created_in_its_form(ui: Ui) -> None:
    saved = ui.create_backend("of-a-form", "fake_manila")
    assert RuntimeBackend.model_validate(saved) == RuntimeBackend(name="fake_manila")


@pytest.mark.slow
def test_vqe_runs_on_the_block_that_is_picked_in_its_form(ui: Ui) -> None:
    ui.create_backend("picked", "fake_manila")
    ui.start_vqe("picked-run", maxiter=5, block="picked")
    ui.wait_for_state("picked-run", "Completed")
    ui.shoot("flow-run")
    ui.open_artifact("summary")
    assert ui.page.get_by_role("row", name="Backend").inner_text().split() == [
        "Backend",
        "fake_manila",
    ]


@pytest.mark.slow
def test_progress_moves_while_vqe_runs(ui: Ui) -> None:
    ui.start_vqe("moving-run", molecule="lih_1.595_4q", shots=2000, block="embedded")
    ui.page.get_by_text(re.compile("Job .* submitted to")).wait_for()
    ui.open_artifact("progress")
    seen: set[int] = set()

    def look() -> bool:
        ui.page.reload()
        shown = ui.page.locator(".artifact-data-progress").inner_text()
        seen.add(int(shown.removeprefix("Progress: ").removesuffix("%")))
        return len(seen - {0, 100}) >= 2

    until(look, "two values of progress")


@pytest.mark.slow
def test_the_convergence_plot_opens(ui: Ui) -> None:
    ui.start_vqe("plotted-run", block="embedded")
    ui.wait_for_state("plotted-run", "Completed")
    ui.open_artifact("convergence")
    plot = ui.page.get_by_role("img", name=re.compile("VQE of h2_0.735 on aer_simulator"))
    plot.wait_for()
    ui.shoot("convergence")
    assert plot.evaluate("image => image.complete && image.naturalWidth") == 770


@pytest.mark.slow
def test_cancelling_in_the_page_cancels_the_job_at_the_service(ui: Ui, served: Served) -> None:
    ui.start_vqe(
        "unwanted-run", molecule="lih_1.595_8q", maxiter=100_000, shots=1000, block="embedded"
    )
    told = ui.page.get_by_text(re.compile("Job .* submitted to")).inner_text()
    ui.page.get_by_role("button", name="Cancel").click()
    ui.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    ui.wait_for_state("unwanted-run", "Cancelled")
    assert served.job_status(told.split()[1]) == "Cancelled"
