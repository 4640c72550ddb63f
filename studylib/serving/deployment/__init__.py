"""What deploys a server: the advised configuration, and files made of it."""
