"""Fronts, hypervolume, budgets, and the rule that prunes. Pure."""
