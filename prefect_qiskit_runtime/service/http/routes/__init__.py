"""The endpoints, one module per resource. They read requests, call the domain, write answers."""
