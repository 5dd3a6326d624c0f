"""Conversations with a model: its prompts and settings, a history that fits, and the terminal."""
