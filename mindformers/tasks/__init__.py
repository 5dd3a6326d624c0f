"""A task in one file each: its data, the head it needs, its metric and the form of its predictions."""
