"""One job in one process, interleaved rounds of them, and what this host can do at most."""
