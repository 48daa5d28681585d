"""The parts of `make_tiny_flux.py`: drawings, autoencoder, text encoders, transformer."""
