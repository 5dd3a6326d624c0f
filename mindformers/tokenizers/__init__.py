"""Text to ids and back, with offsets into the original text."""
