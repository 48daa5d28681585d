"""A run on disk and alive: its directory, journal, supervisor, followers. Importing the package costs nothing."""
