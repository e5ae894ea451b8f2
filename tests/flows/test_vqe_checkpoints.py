"""The VQE program goes on from the checkpoints of a job that was lost."""

from __future__ import annotations

import copy

import pytest

SAMPLED = {"optimizer": "SPSA", "shots": 100, "maxiter": 6, "seed": 3}
WAYS = [
    SAMPLED,
    {"optimizer": "COBYLA", "shots": 100, "maxiter": 8, "seed": 3},
    {"optimizer": "auto", "shots": None, "maxiter": 20, "seed": 3},
]


@pytest.fixture
def run(vqe, ideal, messenger, inputs_for):
    def run(**inputs):
        messenger.messages.clear()
        result = vqe.main(ideal, messenger, **inputs_for("h2_0.735", **inputs))
        return result, copy.deepcopy(messenger.messages)

    return run


def checkpoints_of(messages):
    return [message["checkpoint"] for message in messages]


def calls_of(messages):
    return [call for checkpoint in checkpoints_of(messages) for call in checkpoint["calls"]]


@pytest.mark.parametrize("inputs", WAYS, ids=lambda inputs: inputs["optimizer"])
@pytest.mark.parametrize("lost_after", [1, 2, 3])
def test_the_next_attempt_takes_the_same_way_to_the_same_end(run, inputs, lost_after):
    whole, messages = run(**inputs)
    lost = messages[:lost_after]

    result, rest = run(**inputs, checkpoints=checkpoints_of(lost))

    assert result == whole
    assert lost + rest == messages
    assert calls_of(lost) + calls_of(rest) == calls_of(messages)  # none is measured twice


def test_a_third_attempt_goes_on_from_the_checkpoints_of_both(run):
    whole, messages = run(**SAMPLED)
    _, second = run(**SAMPLED, checkpoints=checkpoints_of(messages[:2]))

    result, third = run(**SAMPLED, checkpoints=checkpoints_of(messages[:2] + second[:2]))

    assert result == whole
    assert [message["iteration"] for message in third] == [4, 5, 6]


def test_a_seed_that_was_drawn_is_that_of_the_next_attempt(run):
    inputs = SAMPLED | {"seed": None}
    whole, messages = run(**inputs)

    assert run(**inputs, checkpoints=checkpoints_of(messages[:3]))[0] == whole


def test_checkpoints_of_other_inputs_are_refused(run):
    _, messages = run(**SAMPLED)

    with pytest.raises(ValueError, match="checkpoints: call 0 is different"):
        run(**SAMPLED, initial_point=[0.5, 0.0, 0.0], checkpoints=checkpoints_of(messages[:2]))
