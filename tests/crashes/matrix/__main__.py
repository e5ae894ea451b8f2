"""Run the crash matrix and write its page.

    python -m tests.crashes.matrix [--whole] [--workers N] [--minutes N] [--only TEXT]

Without `--whole` each point meets each fault in one of the ways. Outcomes are kept in
`.run/crashes/outcomes.jsonl`: cells that are there are not run again, `--again` forgets them. So
it can be ended at any time, by SIGTERM once the cells under way are done, and goes on where it
was; the page has what is known.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict
from pathlib import Path

from prefect.testing.utilities import prefect_test_harness

from tests.crashes.matrix.cells import FOREIGN, WORKS, Cell, Work, deployed, pairs, whole
from tests.crashes.matrix.page import PAGE, page
from tests.crashes.matrix.running import ROOT, Outcome, PointNotReached, Stage

OUTCOMES = ROOT / ".run" / "crashes" / "outcomes.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the crash matrix and write its page.")
    parser.add_argument("--whole", action="store_true", help="each point, fault and way")
    parser.add_argument("--again", action="store_true", help="forget what was run")
    parser.add_argument("--workers", type=int, default=2, help="cells at a time")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="start no cell after this")
    parser.add_argument("--only", default="", help="cells with this in their name")
    asked = parser.parse_args()
    if asked.again:
        OUTCOMES.unlink(missing_ok=True)
    cells = [cell for work in WORKS for cell in cells_of(work, is_whole=asked.whole)]
    known = kept()
    left = [cell for cell in cells if str(cell) not in known and asked.only in str(cell)]
    # In an order that is the same each time, and has something of all at each moment.
    left.sort(key=lambda cell: hashlib.sha256(str(cell).encode()).digest())
    run(left, asked.workers, asked.minutes * 60)
    PAGE.write_text(page(cells, kept()))


def cells_of(work: Work, *, is_whole: bool) -> list[Cell]:
    """Return the cells of a work: in bare processes, and ours through deployments too."""
    bare = whole(work) if is_whole else pairs(work)
    return [*bare, *(() if work is FOREIGN else deployed(work))]


def kept() -> dict[str, Outcome]:
    """Return the outcomes so far, by cell."""
    lines = OUTCOMES.read_text().splitlines() if OUTCOMES.exists() else []
    return {(record := json.loads(line)).pop("cell"): Outcome(**record) for line in lines}


def run(cells: list[Cell], workers: int, seconds: float) -> None:
    """Run cells, some at a time, and keep their outcomes."""
    bare: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    through_deployments: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        (bare if cell.way.by == "process" else through_deployments).put(cell)
    OUTCOMES.parent.mkdir(parents=True, exist_ok=True)
    until, writing, ending = time.monotonic() + seconds, threading.Lock(), threading.Event()

    def work(stage: Stage, *waiting: queue.SimpleQueue[Cell]) -> None:
        with stage:
            while time.monotonic() < until and not ending.is_set():
                if (cell := _next(waiting)) is None:
                    return
                try:
                    outcome = stage.run(cell)
                except PointNotReached as error:
                    print("NOT RUN", error, flush=True)
                    continue
                with writing, OUTCOMES.open("a") as outcomes:
                    outcomes.write(json.dumps({"cell": str(cell), **asdict(outcome)}) + "\n")
                print(
                    "ok " if outcome.is_good else "BAD",
                    outcome.paid,
                    cell,
                    outcome.error,
                    flush=True,
                )

    folder = Path(tempfile.mkdtemp(prefix="crash-matrix-"))
    with prefect_test_harness(server_startup_timeout=120):
        stages = [Stage(folder / str(number)) for number in range(min(workers, len(cells)))]
        # With the settings of this thread, which say where Prefect's server is.
        # Deployments on one stage, as long as there are others: runners and workers keep Prefect's
        # server busy also while they have nothing to do.
        both = (through_deployments, bare)
        threads = [
            threading.Thread(
                target=copy_context().run,
                args=[work, stage, *(both if number == 0 else reversed(both))],
            )
            for number, stage in enumerate(stages)
        ]
        for thread in threads:
            thread.start()
        signal.signal(signal.SIGTERM, lambda *_: ending.set())
        for thread in threads:
            thread.join()
    shutil.rmtree(folder)


def _next(waiting: Iterable[queue.SimpleQueue[Cell]]) -> Cell | None:
    """Take a cell from the first of the queues that has one."""
    for cells in waiting:
        with suppress(queue.Empty):
            return cells.get_nowait()
    return None


if __name__ == "__main__":
    main()
