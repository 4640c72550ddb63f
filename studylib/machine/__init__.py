"""What this host is and grants, and what it does beside a measurement: hardware, fitness, counters, energy, limits of disturbance."""
