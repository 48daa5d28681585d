"""What `export` can write: a module a kind of target."""
