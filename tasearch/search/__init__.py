"""The search: which chain is tried next, and when it stops."""
