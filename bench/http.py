# ruff: noqa: A005 - the table is called http, and nobody imports it by that name
"""Table 4: HTTP APIs. `python -m bench.http`."""

from collections.abc import Callable, Iterator

from bench.harness import Bench, Job, Row, main
from bench.lambda_ import client, deploy
from bench.signing import Signer

SOURCE = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": '{"ok":true}'}
"""


class Get:
    """GET of one route, unsigned as browsers ask; a unit is one answer."""

    def __init__(self, signer: Signer, _lanes: int, *, path: str) -> None:
        self.units = 0
        self._request = f"GET {path} HTTP/1.1\r\nhost: {signer.host}\r\naccept: */*\r\n\r\n".encode()

    def next(self, _lane: int, status: int, _body: bytes) -> bytes:
        if status == 200:
            self.units += 1
        return self._request


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    run_s = 0.7 if bench.quick else 2.0
    arn = deploy(bench, "bench-http", "python3.13", "app.py", SOURCE)
    apis = client(bench, "apigatewayv2")
    api = apis.create_api(Name="bench", ProtocolType="HTTP")["ApiId"]
    made = apis.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
    )
    apis.create_route(ApiId=api, RouteKey="GET /orders/{id}", Target=f"integrations/{made['IntegrationId']}")
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    arguments = {"path": f"/_aws/execute-api/{api}/$default/orders/7"}
    if wanted(name := "HTTP API to Lambda, 1 connection, 50 ms apart"):
        job = Job("bench.http", "Get", "execute-api", 1, arguments, run_s=run_s, gap_s=0.05, runs=3)
        yield bench.latency(Row(name, None, "ms p50"), job)
    if wanted(name := "HTTP API to Lambda, 16 connections"):
        yield bench.rate(Row(name, 2_500, "requests/s"), Job("bench.http", "Get", "execute-api", 16, arguments, run_s))


if __name__ == "__main__":
    main("HTTP APIs", rows)
