"""How a sweep that runs is watched: its driver keeps and publishes its progress, others look at it. No rich in here."""
