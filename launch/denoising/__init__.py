"""What `n2n denoise` does with files."""
