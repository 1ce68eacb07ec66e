"""Recipes, hops and chains, and the space of chains that a study searches. Pure."""
