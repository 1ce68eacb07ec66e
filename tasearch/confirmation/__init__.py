"""Does an assistant help? Chains are compared again, on seeds that the search never used."""
