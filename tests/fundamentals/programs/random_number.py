"""Return a number that differs from call to call."""

import random


def main(backend, user_messenger):
    return random.random()
