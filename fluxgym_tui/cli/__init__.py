"""The command line: one command a module; `output` alone writes stdout, `diagnostics` alone stderr."""
