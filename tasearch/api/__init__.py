"""The interface for Python."""
