"""Pictures and captions on disk: scan, sizes, captions, staging, caches."""
