"""Files named by the hash of everything that made them, and which of our code and whose packages decide that."""
