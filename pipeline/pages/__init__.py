"""Pages in HTML of what is in a set."""
