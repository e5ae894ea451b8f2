"""The service on the wire: the web application, its routes, who calls, and what answers look like.

Routes read requests, call the modules of `service` and write answers; nothing here decides what
may become a program or a job. Start with `app`, `auth`, `views` and `routes`.
"""
