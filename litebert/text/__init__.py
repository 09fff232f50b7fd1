"""Text to tokens: tokenizer and sentences."""
