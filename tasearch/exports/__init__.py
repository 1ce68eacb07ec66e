"""The winner, ready to ship."""
