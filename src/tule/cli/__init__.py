"""The tule command: one file per command, each loaded when called."""
