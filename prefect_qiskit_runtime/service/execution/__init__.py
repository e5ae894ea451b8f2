"""Running jobs: the queue, the processes, and the record of how each job ended.

`scheduler` starts jobs in their order, `run` takes one from its launch to its recorded end,
`executor` is the interface to whatever runs them and `fork_executor` the processes of this
machine. Nothing here knows HTTP, and none of it imports a program.
"""
