"""Submission rules shared by flows and by programs on hardware. Nothing here imports Prefect.

`retrying` decides how often, after how long and until when a request or a job is retried.
"""
