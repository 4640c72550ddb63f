"""What the measuring itself costs (`make bench`)."""
