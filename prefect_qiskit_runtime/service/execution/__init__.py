"""Running jobs: the queue, the processes, and the record of how each job ended.

`scheduler` starts jobs in order, `run` takes one from its launch to its recorded end, `executor` is
the interface for running jobs, and `fork_executor` implements it with processes of this machine.
Nothing here uses HTTP or imports a program.
"""
