"""What the command line and the app call the parts of a run."""

PHASE_WORDS = {
    "download": "downloading",
    "prepare": "preparing the pictures",
    "load": "loading the model",
    "cache_latents": "caching the pictures' latents",
    "cache_text": "caching the captions",
    "train": "training",
    "sample": "drawing samples",
    "save": "saving",
}
