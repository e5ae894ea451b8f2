"""Programs that every service has: their sources are what a job of that program id runs.

They have the form of an uploaded program, and run as one: nothing here is imported by a job.
"""
