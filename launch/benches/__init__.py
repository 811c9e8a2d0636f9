"""What `n2n bench` measures."""
