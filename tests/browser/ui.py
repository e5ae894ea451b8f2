"""The actions of a user in Prefect's UI, in the words of its pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.deployments.conftest import DEADLINE_SECONDS
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Download, Locator, Page, Response

BUSY = 503
NO_CONTENT = 204
CLICK_MILLISECONDS = 3000


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

    def create_block(self, slug: str, block_name: str, fill: Callable[[], None]) -> str:
        """Create a block in the form of its type, and return the id of its document."""
        self.page.goto(f"/blocks/catalog/{slug}/create")
        self.field("Block Name").locator("input").fill(block_name)
        fill()
        self.send("Create", "/block_documents/")
        self.page.wait_for_url("**/blocks/block/*")
        return self.page.url.rpartition("/")[2]

    def create_backend(self, block_name: str, backend: str) -> str:
        """Create a `RuntimeBackend` in its form, and return the id of its document."""

        def fill() -> None:
            self.field("Backend (Optional)").locator("textarea").fill(backend)
            self.shoot("block-form")

        return self.create_block("qiskit-runtime-backend", block_name, fill)

    def create_login(self, block_name: str, *, api_key: str, url: str) -> str:
        """Create `IBMQuantumCredentials` in their form, and return the id of their document."""

        def fill() -> None:
            self.optional("API key").locator("textarea").fill(api_key)
            self.optional("Address").locator("textarea").fill(url)

        return self.create_block("ibm-quantum-credentials", block_name, fill)

    def edit_block(self, block_id: str, fill: Callable[[], None]) -> None:
        """Change a saved block in its form."""
        self.page.goto(f"/blocks/block/{block_id}/edit")
        fill()
        self.send("Save", f"/block_documents/{block_id}")
        self.page.wait_for_url(f"**/blocks/block/{block_id}")

    def saved(self, block_id: str) -> dict[str, Any]:
        """Return what the server has of a block."""
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

        def fill() -> None:
            self.choose(self.field("molecule (Optional)"), molecule)
            self.field("maxiter (Optional)").locator("input").fill(str(maxiter))
            if shots is not None:
                field = self.field("shots (Optional)")
                field.get_by_role("button", name="int", exact=True).click()
                field.locator("input").fill(str(shots))
            self.pick(block)
            self.shoot("run-form")

        self.start("vqe", name, fill)

    def start_kernel(self, name: str, *, block: str) -> None:
        """Start `quantum-kernel` from its deployment's form, and open the page of the run."""

        def fill() -> None:
            self.field("train_size (Optional)").locator("input").fill("15")
            self.field("test_size (Optional)").locator("input").fill("15")
            self.pick(block)

        self.start("quantum-kernel", name, fill)

    def start(self, flow: str, name: str, fill: Callable[[], None]) -> None:
        """Start a flow from the form of its deployment `example`, and open the page of the run."""
        page = self.page
        # Served flows are registered one after the other, `cancel-abandoned-jobs` last.
        wait_until(
            lambda: self.has("deployments/name/cancel-abandoned-jobs/every-5-minutes"), "flows"
        )
        page.goto("/deployments")
        row = page.get_by_role("row").filter(has=page.get_by_text(flow, exact=True))
        row.wait_for()
        self.shoot("deployments")
        row.get_by_text("example").click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        self.field("Run Name").locator("input").fill(name)
        fill()
        answer = self.send("Submit", "/create_flow_run")
        page.goto(f"/runs/flow-run/{answer['id']}")

    def cancel(self) -> None:
        """Cancel the run whose page is shown."""
        self.page.get_by_role("button", name="Cancel").click()
        self.send("Confirm", "/set_state")

    def send(self, button: str, path: str) -> Any:
        """Press the button that sends a form, and return what the server's API answers.

        It is pressed again where the answer is 503, as users have to: so says Prefect's server
        when something else writes to its SQLite database, and the UI asks once only.
        """

        def is_answer(response: Response) -> bool:
            changes = response.request.method in {"POST", "PATCH"}
            return changes and (response.url.endswith(path) or response.status == BUSY)

        while True:
            with self.page.expect_response(is_answer) as expected:
                self.page.get_by_role("button", name=button, exact=True).click()
            if (answer := expected.value).status != BUSY:
                assert answer.ok, answer.text()
                return None if answer.status == NO_CONTENT else answer.json()

    def pick(self, block: str) -> None:
        """Pick a saved block for the parameter `backend`."""
        field = self.field("backend (Optional)")
        field.get_by_role("button", name="RuntimeBackend").click()
        self.choose(field, block)

    def wait_for_state(self, name: str, state: str) -> None:
        """Wait for the state of a run in the heading of its page."""
        heading = self.page.locator("header", has_text=name)
        heading.get_by_text(state, exact=True).wait_for()

    def open_artifact(self, what: str) -> None:
        """Open an artifact of the run whose page is shown."""
        tab = self.page.locator(".p-tab").get_by_text("Artifacts", exact=True)
        cards = self.page.locator(".flow-run-artifacts")
        card = cards.locator(".artifact-card", has_text=re.compile(f"-{what}(?![a-z-])"))

        # The page draws itself again when it learns the state of the run: then it is at its first
        # tab again, and at its top. And its lists are filled as they are scrolled to.
        def opened() -> bool:
            if not cards.is_visible():
                self.press(tab)
            elif card.is_visible():
                self.press(card)
            else:
                # Not by the wheel, which zooms the graph of the run if it is above that.
                cards.evaluate("lists => lists.scrollIntoView({block: 'end'})")
            return "/artifacts/artifact/" in self.page.url

        wait_until(opened, f"the artifact {what}")

    def save_file(self) -> Download:
        """Click on the link of the artifact whose page is shown, and return the file it saves."""
        # A worker thread of the UI renders the description, and its text moves the frame with the
        # link down. A click on the earlier place of the link would hit the page above the frame;
        # the driver cannot notice that, because no script may run in the frame.
        self.page.locator(".artifact-description", has_text=re.compile(r"\S")).wait_for()
        link = self.page.frame_locator("iframe").get_by_role("link")

        # The frame is in another process of the browser: the link itself says that it is reached.
        def reached() -> bool:
            link.hover()
            return link.evaluate("link => link.matches(':hover')")

        wait_until(reached, "the pointer is over the link")
        with self.page.expect_download() as expected:
            link.click()
        return expected.value

    def press(self, what: Locator) -> None:
        """Click, unless it goes away before that."""
        from playwright.sync_api import TimeoutError as GoneError

        with suppress(GoneError):
            what.click(timeout=CLICK_MILLISECONDS)

    def field(self, label: str) -> Locator:
        """Return a field of a form: the UI does not tie its labels to what they label."""
        return self.page.locator(
            f'.p-label:has(> .p-label__header label:has(:text-is("{label}")))'
        ).first

    def optional(self, title: str) -> Locator:
        """Return a field of a block's form that takes one of several kinds of values, or none."""
        return self.page.locator(f'.schema-form-property-any-of:has(> h3:text-is("{title}"))')

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
        return self.request(path).is_success

    def ask(self, path: str) -> Any:
        """Ask the server's API."""
        answer = self.request(path)
        assert answer.is_success, answer.text
        return json.loads(answer.text)

    def request(self, path: str) -> httpx.Response:
        """Ask the server's API, and return what it says, an error too."""
        return httpx.get(f"{self.url}/api/{path}", trust_env=False, timeout=DEADLINE_SECONDS)
