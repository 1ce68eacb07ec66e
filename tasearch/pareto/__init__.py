"""The Pareto front, hypervolume, budgets, and the pruning rule. Pure."""
