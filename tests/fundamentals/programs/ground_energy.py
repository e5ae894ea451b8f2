"""Diagonalize a Hamiltonian of one qubit."""

import numpy as np


def main(backend, user_messenger, *, field):
    hamiltonian = np.array([[1, field], [field, -1]], dtype=complex)
    user_messenger.publish({"hamiltonian": hamiltonian})
    return {"energy": float(np.linalg.eigvalsh(hamiltonian)[0])}
