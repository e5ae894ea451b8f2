"""The service over HTTP: the web application, its routes, authentication, and answer formats.

Routes read requests, call the modules of `service` and write answers. The rules for programs and
jobs are not here. Start with `app`, `auth`, `views` and `routes`.
"""
