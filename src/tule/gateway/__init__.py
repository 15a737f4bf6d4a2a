"""The front door: the ordered chain of steps that every call passes."""
