"""The search: the only package that imports optuna. `journal` and `results` need no torch."""
