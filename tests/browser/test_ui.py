"""The blocks, forms and artifacts of this package in a browser.

`make browser` runs all of it and takes the pictures of the documentation.
"""

from __future__ import annotations

import csv
import re

import pytest

from prefect_qiskit_runtime import RuntimeBackend
from prefect_qiskit_runtime.testing import OfflineService
from tests.browser.conftest import Served
from tests.browser.ui import Ui
from tests.waiting import wait_until

# Each step has a separate deadline, and some tests have many steps.
pytestmark = pytest.mark.timeout(600)


def test_a_backend_is_created_in_its_form(ui: Ui) -> None:
    block_id = ui.create_backend("of-a-form", "fake_manila")
    assert RuntimeBackend.model_validate(ui.saved(block_id)) == RuntimeBackend(name="fake_manila")


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


def test_a_run_shows_its_convergence_and_gives_its_table(ui: Ui) -> None:
    ui.create_backend("plotted", "aer_simulator")
    ui.start_vqe("plotted-run", block="plotted")
    ui.wait_for_state("plotted-run", "Completed")
    run_page = ui.page.url
    ui.open_artifact("convergence")
    plot = ui.page.get_by_role("img", name=re.compile("VQE of h2_0.735"))
    plot.wait_for()
    wait_until(lambda: plot.evaluate("image => image.complete"), "the picture")
    ui.shoot("convergence")
    assert plot.evaluate("image => image.naturalWidth") == 770
    ui.page.goto(run_page)
    ui.open_artifact("csv")
    saved = ui.save_file()
    with saved.path().open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert saved.suggested_filename == "vqe-h2-0-735.csv"
    assert float(rows[-1]["value"]) == pytest.approx(-1.137306, abs=1e-6)


@pytest.mark.slow
def test_progress_moves_while_vqe_runs(ui: Ui) -> None:
    ui.start_vqe("moving-run", molecule="lih_1.595_4q", maxiter=3000, shots=2000, block="embedded")
    run_page = ui.page.url
    ui.open_artifact("progress")
    seen: set[int] = set()

    def look() -> bool:
        ui.page.reload()
        shown = ui.page.locator(".artifact-data-progress").inner_text()
        seen.add(int(shown.removeprefix("Progress: ").removesuffix("%")))
        return len(seen - {0, 100}) >= 2

    wait_until(look, "two values of progress")
    ui.page.goto(run_page)
    ui.cancel()


@pytest.mark.slow
def test_cancelling_in_the_page_cancels_the_job_at_the_service(ui: Ui, served: Served) -> None:
    ui.start_vqe(
        "unwanted-run", molecule="lih_1.595_8q", maxiter=100_000, shots=1000, block="embedded"
    )
    message = ui.page.get_by_text(re.compile("Job .* submitted to")).inner_text()
    ui.cancel()
    ui.wait_for_state("unwanted-run", "Cancelled")
    # The state is that of the flow run; its hook may still be at work.
    wait_until(lambda: served.job_status(message.split()[1]) == "Cancelled", "the job is cancelled")


@pytest.mark.slow
def test_a_flow_moves_to_ibm_when_its_block_is_edited(ui: Ui, ibm: OfflineService) -> None:
    ui.create_login("login", api_key=ibm.token, url=f"{ibm.url}/api/v1")
    block_id = ui.create_backend("where-it-runs", "aer_simulator")
    ui.start_kernel("kernel-here", block="where-it-runs")
    ui.wait_for_state("kernel-here", "Completed")
    assert ibm.requests("POST", "/jobs") == []

    def move() -> None:
        ui.choose(ui.field("Service (Optional)"), "ibm")
        credentials = ui.optional("Credentials")
        credentials.get_by_role("button", name="IBMQuantumCredentials").click()
        ui.choose(credentials, "login")

    ui.edit_block(block_id, move)
    ui.shoot("block-moved")
    ui.start_kernel("kernel-there", block="where-it-runs")
    ui.wait_for_state("kernel-there", "Completed")
    assert [sent["status"] for sent in ibm.requests("POST", "/jobs")] == [200]
