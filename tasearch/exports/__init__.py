"""Exports: the best student, ready to ship."""
