"""Sets and sources at addresses."""
