"""Submitting once: the rules that flows and programs on hardware share. Without Prefect.

`retrying` says how often, after how long and until when something is tried again.
"""
