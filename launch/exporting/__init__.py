"""What `n2n export` writes."""
