"""AWS wire protocols, compiled from botocore's models: route, parse, validate, serialise, errors, SigV4."""
