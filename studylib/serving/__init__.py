"""Models behind servers: servers as processes, clients as remote sessions, and what is needed to deploy one."""
