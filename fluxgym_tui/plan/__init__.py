"""What will happen, by pure arithmetic: buckets, steps, sizes on disk. No I/O here."""
