"""Serves one program until its job has ended or the service is gone, and leaves nothing open."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefect_qiskit_runtime.broker._budget import Budget, Limits
from prefect_qiskit_runtime.broker._journal import Journal
from prefect_qiskit_runtime.broker._line import BrokerLine
from prefect_qiskit_runtime.broker._pipe import ProgramPipe
from prefect_qiskit_runtime.broker._session import HardwareSession
from prefect_qiskit_runtime.broker._submission import Account, Asked, HardwareCall, Patience
from prefect_qiskit_runtime.client import IbmAccount, IbmApi, settings_of_environment
from prefect_qiskit_runtime.errors import InvalidInputError, QiskitRuntimeError, to_fields
from prefect_qiskit_runtime.models import PUB_PRIMITIVES, HardwareMode

logger = logging.getLogger(__name__)

End = Literal["cancel", "keep"]
"""Whether jobs that still run are cancelled or kept for the next attempt."""


@dataclass(frozen=True)
class Order:
    """The order that the service sends when it starts a broker.

    Attributes:
        account: The account and its credentials; not shown by `repr`.
        backend: The device.
        label: A tag of its jobs at IBM: the label of the program's flow run, or the id of the
            program's job.
        mode: How the jobs are grouped: session, batch, or separate jobs.
        journal: The journal file of the evaluation.
        limits: How much time the program may use.
    """

    account: IbmAccount
    backend: str
    label: str
    mode: HardwareMode
    journal: Path
    limits: Limits

    @classmethod
    def read(cls, line: bytes) -> Order:
        """Read the first line from the service."""
        fields = json.loads(line)
        return cls(
            account=IbmAccount.from_fields(fields["account"]),
            backend=fields["backend"],
            label=fields["label"],
            mode=fields["mode"],
            journal=Path(fields["journal"]),
            limits=Limits(**fields["limits"]),
        )


async def run(
    order: Order,
    pipe: ProgramPipe,
    service: asyncio.StreamReader,
    *,
    ready: Callable[[], None],
) -> float | None:
    """Serve the program of an order and return the seconds that it has used on the device.

    They are None if the service does not report them.

    Args:
        order: The order.
        pipe: The pipe to the program.
        service: The input from the service.
        ready: Called when the program may start.
    """
    with await asyncio.to_thread(Journal, order.journal) as journal:
        async with IbmApi(order.account) as api:
            budget = Budget(api, order.backend, order.label, order.limits)
            session = HardwareSession(api, order.backend, journal, budget, order.mode)
            await session.settle_earlier()
            account = Account(
                api=api,
                backend=order.backend,
                label=order.label,
                journal=journal,
                session=session,
                line=BrokerLine(api, order.journal.parent),
                settings=settings_of_environment(),
                patience=Patience.within(order.limits.max_execution_seconds),
                note=pipe.note,
            )
            broker = _Broker(account, pipe)
            serving = asyncio.create_task(broker.serve())
            ready()
            end = await _end_from(service)
            await broker.leave(serving, end)
            await session.close(with_jobs=end == "cancel")
            return await session.used_seconds()


async def _end_from(service: asyncio.StreamReader) -> End:
    """Wait until the service reports the end of the job, or is gone."""
    line = await service.readline()
    # If the service has died, the jobs are kept, and the next attempt attaches to them.
    return json.loads(line)["end"] if line.endswith(b"\n") else "keep"


class _Broker:
    def __init__(self, account: Account, pipe: ProgramPipe) -> None:
        self._account = account
        self._pipe = pipe
        self._calls: dict[asyncio.Task[None], HardwareCall | None] = {}

    async def serve(self) -> None:
        """Answer the requests of the program until it is gone."""
        while (request := await self._pipe.read()) is not None:
            header, body = request
            call = None
            if header["ask"] == "run":
                asked = Asked(header["primitive"], header["fingerprint"], body)
                call = HardwareCall(self._account, asked)
            task = asyncio.create_task(self._answer(header, call))
            self._calls[task] = call
            task.add_done_callback(lambda done: self._calls.pop(done, None))

    async def leave(self, serving: asyncio.Task[None], end: End) -> None:
        """Stop serving; cancel the jobs that still run, or keep them."""
        calls = dict(self._calls)
        for task in (serving, *calls):
            task.cancel()
        await asyncio.wait({serving, *calls})
        left = [call.leave(cancel=end == "cancel") for call in calls.values() if call is not None]
        await asyncio.gather(*left)

    async def _answer(self, header: dict[str, Any], call: HardwareCall | None) -> None:
        number = header["id"]
        try:
            body = await self._device() if call is None else await self._result(header, call)
        except QiskitRuntimeError as exc:
            await self._pipe.refuse(number, to_fields(exc))
        except Exception as exc:  # boundary: the program must not wait forever
            logger.exception("A request of %s failed", self._account.label)
            fault = QiskitRuntimeError(f"The broker failed: {type(exc).__name__}.")
            await self._pipe.refuse(number, to_fields(fault))
        else:
            await self._pipe.answer(number, body)

    async def _result(self, header: dict[str, Any], call: HardwareCall) -> bytes:
        if header["primitive"] not in PUB_PRIMITIVES:
            raise InvalidInputError(f"Programs run {' and '.join(PUB_PRIMITIVES)} on hardware.")
        return await call.result()

    async def _device(self) -> bytes:
        """Return the configuration and the calibration of the device."""
        api, name = self._account.api, self._account.backend
        configuration, properties = await asyncio.gather(
            api.backend_configuration(name), api.backend_properties(name)
        )
        return json.dumps({"configuration": configuration, "properties": properties}).encode()
