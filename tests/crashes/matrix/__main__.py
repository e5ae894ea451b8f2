"""Run the crash matrix and write its page.

    python -m tests.crashes.matrix [--whole] [--again] [--workers N] [--minutes N] [--only TEXT]

Without `--whole` each point meets each fault in one of the ways. Outcomes are kept in
`.run/crashes/outcomes.jsonl`: cells that are there are not run again, `--again` forgets them. A run
can be ended at any time, by SIGTERM once the cells under way are done, and the next one continues;
the page has what is known.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import asdict
from pathlib import Path

from prefect.testing.utilities import prefect_test_harness

from tests.crashes.matrix.cells import FOREIGN, WORKS, Cell, deployed, pairs, whole
from tests.crashes.matrix.page import PAGE, page
from tests.crashes.matrix.running import ROOT, Outcome, PointNotReached, Stage

# Now and then the SQLite of a Prefect server is locked for a minute, for all flows that use it.
WORKERS_OF_A_SERVER = 2
OUTCOMES = ROOT / ".run" / "crashes" / "outcomes.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the crash matrix and write its page.")
    parser.add_argument("--whole", action="store_true", help="each point, fault and way")
    parser.add_argument("--again", action="store_true", help="forget what was run")
    parser.add_argument("--workers", type=int, default=8, help="cells at a time; most wait")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="start no cell after this")
    parser.add_argument("--only", default="", help="cells with this in their name")
    asked = parser.parse_args()
    if asked.again:
        OUTCOMES.unlink(missing_ok=True)
    cells: list[Cell] = []
    for work in WORKS:
        cells += whole(work) if asked.whole else pairs(work)
        cells += () if work is FOREIGN else deployed(work)
    known = kept()
    left = [cell for cell in cells if str(cell) not in known and asked.only in str(cell)]
    # In an order that is the same each time, and has something of all at each moment.
    left.sort(key=lambda cell: hashlib.sha256(str(cell).encode()).digest())
    run(left, asked.workers, asked.minutes * 60)
    PAGE.write_text(page(cells, kept()))


def kept() -> dict[str, Outcome]:
    """Return the outcomes so far, by cell."""
    lines = OUTCOMES.read_text().splitlines() if OUTCOMES.exists() else []
    return {(record := json.loads(line)).pop("cell"): Outcome(**record) for line in lines}


def run(left: list[Cell], workers: int, seconds: float) -> None:
    """Run cells, some at a time, and keep their outcomes."""
    OUTCOMES.parent.mkdir(parents=True, exist_ok=True)
    until, lock, ending = time.monotonic() + seconds, threading.Lock(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    cells = iter(left)

    def next_cell() -> Cell | None:
        with lock:
            return None if ending.is_set() or time.monotonic() >= until else next(cells, None)

    def work(stage: Stage) -> None:
        while (cell := next_cell()) is not None:
            try:
                outcome = stage.run(cell)
            except PointNotReached as error:
                print("NOT RUN", error, flush=True)
                continue
            with lock, OUTCOMES.open("a") as outcomes:
                outcomes.write(json.dumps({"cell": str(cell), **asdict(outcome)}) + "\n")
            verdict = "ok " if outcome.is_good else "BAD"
            print(verdict, outcome.paid, cell, outcome.error, flush=True)

    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crash-matrix-"))
        working = []
        for number in range(min(workers, len(left))):
            if number % WORKERS_OF_A_SERVER == 0:
                stack.enter_context(prefect_test_harness(server_startup_timeout=120))
                stage = stack.enter_context(Stage(Path(folder) / str(number)))
            # With the present settings of this thread, which say where Prefect's server is.
            working.append(pool.submit(copy_context().run, work, stage))
        for one in working:
            one.result()


if __name__ == "__main__":
    main()
