"""Who am I, and temporary credentials."""
