"""What must be made, in which order, and by which job."""
