"""Benchmarks: one module per question, its stored result in `results/`."""
