"""A small ASGI application behind Mangum."""

import json

from mangum import Mangum


async def app(scope, receive, send):
    body = b""
    while True:
        part = await receive()
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "body": body.decode(),
        "host": dict(scope["headers"]).get(b"host", b"").decode(),
        "function": scope["aws.context"].function_name,
    }
    status = 404 if scope["path"] == "/none" else 200
    headers = [(b"content-type", b"application/json"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


handler = Mangum(app, lifespan="off")
