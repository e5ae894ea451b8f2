"""Import a library that only one environment has."""


def main(backend, user_messenger):
    import only_there

    return only_there.WHERE
