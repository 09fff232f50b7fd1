"""Other people's folders: one table of names, Hugging Face and TensorFlow."""
