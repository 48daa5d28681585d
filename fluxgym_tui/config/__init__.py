"""What the user asks for: specs, models, presets, the workspace, and kohya's dataset.toml."""
