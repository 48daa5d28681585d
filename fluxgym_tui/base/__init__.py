"""What every room may use: errors, events, findings, files, text, safetensors headers. Standard library only."""
