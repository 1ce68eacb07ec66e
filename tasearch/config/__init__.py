"""The study file and the other inputs of a user: arguments, files, and code of their own."""
