"""Writing text with a model: settings, logits, compiled caches, search, and the text that comes out."""
