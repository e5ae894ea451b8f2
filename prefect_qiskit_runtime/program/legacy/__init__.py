"""For clients and programs from before 2024: their imports, primitives, options and results.

`imports` makes names of old packages importable, `primitives` and `options` run V1 primitives,
`runner_result`, `openqasm3` and `spsa` serve the public programs that IBM once published.
"""
