"""The endpoints, one module per noun. They read requests, call the domain, write answers."""
