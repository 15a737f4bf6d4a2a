"""Pure languages of the AWS APIs: no I/O, no clock, no service."""
