"""What `n2n evaluate` measures and shows."""
