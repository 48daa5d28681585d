"""Hugging Face: who is logged in, what may be read, finding and fetching model files, publishing."""
