"""Divide the PUBs of a call, or the items of a quantum program, into several jobs.

Each part is a separate job, which is found again like any other. The division depends only on the
user's inputs, not on the circuits transpiled for a calibration, so a call that runs again has the
same parts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeVar

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.evaluation.placement import largest_payload
from prefect_qiskit_runtime.pubs.executor_inputs import ExecutorCall
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveCall

SplitLike = Literal["size"] | int | None
"""Contents of one job: as much as fits, at most this number of PUBs or items, or everything."""

CallT = TypeVar("CallT", PrimitiveCall, ExecutorCall)

_SEPARATOR_BYTES = len(", ")


def parts_of(
    call: CallT, split: SplitLike, block: RuntimeBackend
) -> list[tuple[CallT, range | None]]:
    """Return the call of each job, with the range of PUBs or items in it; None for all of them.

    Raises:
        ConfigurationError: `split` is invalid.
    """
    if split is None:
        return [(call, None)]
    parts = _parts_by_size(call, block) if split == "size" else _parts_by_number(call, split)
    if len(parts) < 2:  # the same job as without splitting
        return [(call, None)]
    return [(_part_call(call, part, number, block), part) for number, part in enumerate(parts)]


def _parts_by_number(call: PrimitiveCall | ExecutorCall, split: Any) -> list[range]:
    if isinstance(split, bool) or not isinstance(split, int) or split < 1:
        raise ConfigurationError(
            "split must be 'size' (as many PUBs in each job as its size limit allows) or a number"
            f" of PUBs, 1 or more, not {split!r:.80}."
        )
    whole = range(len(call))
    return [whole[start : start + split] for start in whole[::split]]


def _parts_by_size(call: PrimitiveCall | ExecutorCall, block: RuntimeBackend) -> list[range]:
    largest, whole = largest_payload(block), range(len(call))
    if len(whole) < 2 or _payload_bytes(call, block) <= largest:
        return [whole]
    # Beside other items, an item of a quantum program takes at most as many bytes as alone.
    is_pubs = isinstance(call, PrimitiveCall)
    base = _payload_bytes(call.only(range(0)), block) if is_pubs else 0
    parts: list[range] = []
    start, size = 0, base
    for index in whole:
        one = _payload_bytes(call.only(range(index, index + 1)), block) - base + _SEPARATOR_BYTES
        if index > start and size + one > largest:
            parts.append(range(start, index))
            start, size = index, base
        size += one
    return [*parts, range(start, len(whole))]


def _payload_bytes(call: PrimitiveCall | ExecutorCall, block: RuntimeBackend) -> int:
    return len(encode_inputs(call.inputs_on(block)))


def _part_call(call: CallT, part: range, number: int, block: RuntimeBackend) -> CallT:
    """Return the call of one part, with a different seed for each part if the call has a seed.

    With the same seed, the first PUBs of all parts would have the same samples.
    """
    only = call.only(part)
    seed = call.asked_seed if block.kind.takes_seed else None
    if number == 0 or not isinstance(seed, int) or seed < 0:
        return only
    import numpy as np

    (own,) = np.random.SeedSequence([seed, number]).generate_state(1)
    return replace(only, seed=int(own >> 1))
