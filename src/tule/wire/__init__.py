"""AWS wire protocols, compiled from botocore's models: route, parse, validate, serialise, errors, SigV4.

    where = route(request)                                    # Route, or AwsError: answer it with routing_refusal
    operation = compiled(where.service, where.operation)      # CompiledOperation, compiled once
    parameters = operation.parse(request, where)              # plain dict, or AwsError
    response = operation.serialise(result, where, request_id)
    response = operation.serialise_error(error, where, request_id)
    response = routing_refusal(request, error, request_id)    # for errors of `route`

    Verifier().admit(request, where, key_or_none, now_ms)     # tule.wire.sigv4: checks a signature, opens aws-chunked
    refusal("unknown key", where.service, where.protocol)     # tule.wire.refusals: other refusals of callers

An operation speaks every protocol of its service; `where.protocol` says which one the caller used.
"""

from tule.wire.codecs import CompiledOperation, RawJson, compiled, routing_refusal
from tule.wire.routing import Route, route

__all__ = ["CompiledOperation", "RawJson", "Route", "compiled", "route", "routing_refusal"]
