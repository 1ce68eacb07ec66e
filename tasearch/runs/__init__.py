"""A run's directory: its manifest, hops, journal and records. Needs no torch."""
