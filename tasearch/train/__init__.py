"""Training hops: the plain loop, what makes it fast, and the workers that run it."""
