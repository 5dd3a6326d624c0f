"""Answers over HTTP in the forms of the OpenAI API, and a page to chat with."""
