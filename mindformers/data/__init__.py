"""Files to rows, rows to features, features to batches."""
