"""What a user does in Prefect's UI, in the words of its pages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.deployments.conftest import until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


@dataclass
class Ui:
    """A page of the browser.

    Attributes:
        page: The page.
        url: Of the Prefect server.
        pictures: The folder of the screenshots; None to take none.
    """

    page: Page
    url: str
    pictures: Path | None

    def create_backend(self, block_name: str, backend: str) -> dict[str, Any]:
        """Create a `RuntimeBackend` in its form, and return what the server has saved."""
        self.page.goto("/blocks/catalog/qiskit-runtime-backend/create")
        self.field("Block Name").locator("input").fill(block_name)
        self.field("Backend (Optional)").locator("textarea").fill(backend)
        self.shoot("block-form")
        self.page.get_by_role("button", name="Create", exact=True).click()
        self.page.wait_for_url("**/blocks/block/*")
        block_id = self.page.url.rpartition("/")[2]
        return self.ask(f"block_documents/{block_id}")["data"]

    def start_vqe(
        self,
        name: str,
        *,
        molecule: str = "h2_0.735",
        maxiter: int = 100,
        shots: int | None = None,
        block: str,
    ) -> None:
        """Start `vqe` from its deployment's form, and open the page of the run."""
        page = self.page
        # Served flows are registered one after the other, `cancel-abandoned-jobs` last.
        until(lambda: self.has("deployments/name/cancel-abandoned-jobs/every-5-minutes"), "flows")
        page.goto("/deployments")
        flow = page.get_by_role("row").filter(has=page.get_by_text("vqe", exact=True))
        flow.wait_for()
        self.shoot("deployments")
        flow.get_by_text("example").click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        self.field("Run Name").locator("input").fill(name)
        self.choose(self.field("molecule (Optional)"), molecule)
        self.field("maxiter (Optional)").locator("input").fill(str(maxiter))
        if shots is not None:
            self.field("shots (Optional)").get_by_role("button", name="int", exact=True).click()
            self.field("shots (Optional)").locator("input").fill(str(shots))
        backend = self.field("backend (Optional)")
        backend.get_by_role("button", name="RuntimeBackend").click()
        self.choose(backend, block)
        self.shoot("run-form")
        page.get_by_role("button", name="Submit").click()
        page.get_by_role("link", name=name).last.click()
        page.wait_for_url("**/runs/flow-run/*")

    def wait_for_state(self, name: str, state: str) -> None:
        """Wait for the state of a run in the heading of its page."""
        heading = self.page.locator("header", has_text=name)
        heading.get_by_text(state, exact=True).wait_for()

    def open_artifact(self, what: str) -> None:
        """Open an artifact of the run whose page is shown."""
        self.page.get_by_text("Artifacts", exact=True).last.click()
        self.page.get_by_text(re.compile(f"-{what}$")).last.click()

    def field(self, label: str) -> Locator:
        """Return a field of a form: the UI does not tie its labels to what they label."""
        return self.page.locator(
            f'.p-label:has(> .p-label__header label:has(:text-is("{label}")))'
        ).first

    def choose(self, field: Locator, option: str) -> None:
        """Choose from a list. By the keyboard: a click of a driver opens it and closes it again."""
        field.locator(".p-select button").press("ArrowDown")
        self.page.locator(".p-pop-over-content").get_by_text(option, exact=True).click()
        field.locator(".p-select").get_by_text(option, exact=True).wait_for()

    def shoot(self, name: str) -> None:
        """Keep a picture of the page."""
        if self.pictures is not None:
            # The pictures of block types are on a host that a test does not ask.
            self.page.add_style_tag(content=".logo-image { visibility: hidden }")
            self.page.screenshot(path=self.pictures / f"{name}.png", animations="disabled")

    def has(self, path: str) -> bool:
        """Whether the server's API has this."""
        return httpx.get(f"{self.url}/api/{path}", trust_env=False).is_success

    def ask(self, path: str) -> Any:
        """Ask the server's API."""
        answer = httpx.get(f"{self.url}/api/{path}", trust_env=False)
        assert answer.is_success, answer.text
        return json.loads(answer.text)
