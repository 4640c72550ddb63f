"""Who is faster, what was lost, what to choose, and why."""
