"""The study file, and everything else that a user writes."""
