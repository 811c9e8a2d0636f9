"""Tensors in, tensors out. No files, no ranks."""
