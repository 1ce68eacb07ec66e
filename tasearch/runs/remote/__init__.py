"""Runs at a URL: a copy of each is on this machine, and what is finished is in the object store."""
