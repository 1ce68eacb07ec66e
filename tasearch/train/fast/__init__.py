"""What makes training fast, with the same results: stacking, CUDA graphs, autotuning, memory."""
