"""A program for the clients that had programs. Standard library only: see `serving`."""

from __future__ import annotations

_MAIN = """
def main(backend: ProgramBackend, user_messenger: UserMessenger, **inputs):
    print("a line of the log")
    for i in range(inputs.get("n", 2)):
        user_messenger.publish({"iteration": i, "values": inputs.get("values")})
    while inputs.get("forever"):
        time.sleep(0.01)
    if inputs.get("fail"):
        raise ValueError("asked to fail")
    circuit = inputs.get("circuit")
    if circuit is not None:
        return {"qubits": circuit.num_qubits, "backend": backend.name}
    return inputs.get("result")
"""


def publishing_program(module: str) -> str:
    """Return the source of a program that publishes numbers and ends as its inputs say.

    `module` is where programs of the client's time import from.
    """
    return f"\nimport time\nfrom {module} import ProgramBackend, UserMessenger\n{_MAIN}"
