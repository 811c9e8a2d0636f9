"""Files in, pairs out. No networks, no process groups."""
