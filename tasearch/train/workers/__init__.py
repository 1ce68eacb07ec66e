"""Engines: hops trained in this process, or by worker processes."""
