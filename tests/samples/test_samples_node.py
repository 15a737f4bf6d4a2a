"""Samples for Node, byte for byte, with what each must show."""

import json

import pytest
from samples_cloud import Cloud

from function_account import LocalPostgres, fetch, reports, tule_with_caches

V2 = ("aws-sdk",)


def ask(method, url, body=None):
    """Status and body of an HTTP request."""
    status, told, _ = fetch(method, url, body)
    return status, told.decode()


def item(text):
    return {"id": text, "name": "x"}


def test_003_1_keeps_products(cloud):
    dynamodb = cloud.client("dynamodb")
    cloud.table("Products")
    name = cloud.deploy("003_1", packages=V2)
    posted = cloud.invoke(name, {"httpMethod": "POST", "body": json.dumps(item("p1"))})
    assert posted == ({"statusCode": 201, "body": '{"success":true}'}, None)
    assert dynamodb.get_item(TableName="Products", Key={"id": {"S": "p1"}})["Item"]["name"] == {"S": "x"}
    assert cloud.invoke(name, {"httpMethod": "GET", "pathParameters": {"id": "none"}}) == ({"statusCode": 200}, None)
    assert cloud.invoke(name, {"httpMethod": "DELETE"}) == (None, None)
    told, failed = cloud.invoke(name, {"httpMethod": "GET", "pathParameters": None})
    assert (told["errorType"], failed) == ("TypeError", "Unhandled")

    url = cloud.http_api(name, "GET /products/{id}", "POST /products", version="1.0")
    assert ask("POST", f"{url}/products", json.dumps({"name": "y"})) == (201, '{"success":true}')
    status, body = ask("GET", f"{url}/products/p1")
    assert (status, json.loads(body)) == (200, item("p1"))
    assert ask("GET", f"{url}/products/none") == (200, "")
    given = [entry["id"]["S"] for entry in dynamodb.scan(TableName="Products")["Items"]]
    assert sorted(map(len, given)) == [2, 36], "what was posted without an id got a random one"


BARRIER = """
import boto3, time

table = boto3.resource("dynamodb").Table("arrived")

def handler(event, context):
    table.update_item(Key={"id": "x"}, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": 1})
    while table.get_item(Key={"id": "x"}, ConsistentRead=True)["Item"]["n"] < 10:
        time.sleep(0.1)
    return [number * 2 for number in event["chunk"]]
"""


def test_003_4_has_ten_chunks_processed_at_once(cloud):
    dynamodb = cloud.client("dynamodb")
    cloud.table("arrived")
    cloud.create("processChunk", {"app.py": BARRIER}, "app.handler", "python3.11")  # none answers before ten are there
    name = cloud.deploy("003_4", packages=V2)
    numbers = list(range(25))
    assert cloud.invoke(name, {"payload": numbers}) == ([number * 2 for number in numbers], None)
    arrived = dynamodb.get_item(TableName="arrived", Key={"id": {"S": "x"}})["Item"]["n"]["N"]
    assert arrived == "10"


def test_003_5_fails_on_every_call_and_begins_once(cloud):
    name = cloud.deploy("003_5")
    for _ in range(2):
        told, failed = cloud.invoke(name, {})
        assert (told["errorType"], failed) == ("TypeError", "Unhandled")
    lines = cloud.lines(name, reports(2))
    assert sum("Init Duration" in line for line in lines) == 1


def test_003_6_sends_paths_to_their_handlers(cloud):
    name = cloud.deploy("003_6")
    for path, resource in (("/users", "Users"), ("/orders", "Orders"), ("/products", "Products")):
        told, failed = cloud.invoke(name, {"path": path, "httpMethod": "GET"})
        assert (told["statusCode"], json.loads(told["body"]), failed) == (
            200,
            {"resource": resource, "method": "GET"},
            None,
        )
    assert cloud.invoke(name, {"path": "/carts"}) == (None, None)
    url = cloud.http_api(name, "$default", version="1.0")
    assert ask("GET", f"{url}/orders") == (200, '{"resource":"Orders","method":"GET"}')


STEPS = ["validateOrder", "chargePayment", "updateInventory", "sendConfirmation"]


def effects(lines):
    """(step, order) of every effect in a log."""
    told = [json.loads(line[line.index("{") :]) for line in lines if '"effect"' in line]
    return [(entry["effect"], entry["order"]) for entry in told]


def test_003_7_is_stopped_after_sixteen_hops(cloud):
    cloud.deploy("003_7", "thisFunction", packages=V2)
    assert cloud.invoke("thisFunction", {}) == (None, None)
    lines = cloud.lines("thisFunction", reports(16))
    failures = [line for line in lines if "Invoke Error" in line]
    assert len(failures) == 1, "the level whose call was refused; those above take no notice"
    assert "RecursiveInvocationException" in failures[0]
    assert '"statusCode":400' in failures[0]


def test_004_1_processes_a_batch_in_order(cloud):
    name = cloud.deploy("004_1")
    orders = [f"o{number}" for number in range(10)]
    records = [{"body": json.dumps({"id": order})} for order in orders]
    assert cloud.invoke(name, {"Records": records}) == (None, None)
    lines = cloud.lines(name, reports(1))
    assert effects(lines) == [(step, order) for order in orders for step in STEPS]


def test_004_1_charges_again_what_a_poisoned_batch_returns(cloud):
    sqs = cloud.client("sqs")
    sqs.create_queue(QueueName="dead")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{cloud.number}:dead", "maxReceiveCount": 2}
    orders = sqs.create_queue(
        QueueName="orders", Attributes={"VisibilityTimeout": "300", "RedrivePolicy": json.dumps(policy)}
    )["QueueUrl"]
    bodies = [{"id": f"o{number}"} for number in range(10)]
    bodies[4] = {}
    entries = [{"Id": str(number), "MessageBody": json.dumps(body)} for number, body in enumerate(bodies)]
    sqs.send_message_batch(QueueUrl=orders, Entries=entries)
    name = cloud.deploy("004_1")
    cloud.functions.create_event_source_mapping(
        FunctionName=name, EventSourceArn=f"arn:aws:sqs:us-east-1:{cloud.number}:orders", BatchSize=10
    )

    def charged(times):
        return lambda lines: [step for step, _ in effects(lines)].count("chargePayment") >= times

    cloud.lines(name, charged(4))
    cloud.tule.advance("301s")
    lines = cloud.lines(name, charged(8))
    assert sorted(order for step, order in effects(lines) if step == "chargePayment") == sorted(
        [f"o{number}" for number in range(4)] * 2
    )


TOLD = """
// Node-postgres's pool, which also says when one is made and with what. Found, like the prelude's own, on first use.
const { get } = Object.getOwnPropertyDescriptor(globalThis, "Pool");
Object.defineProperty(globalThis, "Pool", {
  configurable: true,
  get() {
    const Given = get();
    const value = class extends Given {
      constructor(options) {
        console.log(`pool of at most ${options.max}`);
        super(options);
      }
    };
    Object.defineProperty(globalThis, "Pool", { value });
    return value;
  },
});
"""


USERS = "CREATE VIEW users AS SELECT generate_series(1, 12) AS id, pg_backend_pid() AS backend"
"""Twelve users, who say which backend read them."""


def test_004_8_keeps_one_connection(samples, stripped, fresh_account):
    with LocalPostgres() as database, tule_with_caches(host_port=database.port) as tule:
        database.execute(USERS)
        keep_one_connection(Cloud(tule, fresh_account, samples, stripped), database.url)


def keep_one_connection(cloud, url):
    options = "--import /opt/prelude.mjs --import /var/task/told.mjs"
    name = cloud.deploy("004_8", packages=("pg",), more={"told.mjs": TOLD}, DATABASE_URL=url, NODE_OPTIONS=options)
    backends = set()
    for _ in range(2):
        answer, failed = cloud.invoke(name, {})
        assert failed is None, answer
        rows = json.loads(answer["body"])
        assert (answer["statusCode"], failed, len(rows)) == (200, None, 10)
        backends |= {row["backend"] for row in rows}
    assert len(backends) == 1
    lines = cloud.lines(name, reports(2))
    started = next(number for number, line in enumerate(lines) if line.startswith("START"))
    pools = [number for number, line in enumerate(lines) if "pool of at most 1" in line]
    assert len(pools) == 1
    assert pools[0] > started


def test_004_9_is_a_service_of_users(cloud):
    name = cloud.deploy("004_9")
    url = cloud.http_api(name, "ANY /users/{id}")
    assert ask("GET", f"{url}/users/u1") == (200, '{"id":"u1","name":"Ada"}')
    assert ask("PUT", f"{url}/users/u1", '{"name":"Lin"}') == (204, "")
    assert ask("GET", f"{url}/users/u1") == (200, '{"id":"u1","name":"Lin"}')
    assert ask("PATCH", f"{url}/users/u1") == (405, "")
    assert ask("GET", f"{url}/users/none") == (200, "")


def test_004_12_is_an_express_application(cloud):
    name = cloud.deploy("004_12", packages=("express", "serverless-http"))
    second = cloud.http_api(name, "$default")
    assert ask("GET", f"{second}/orders?x=1") == (200, '{"resource":"Orders","method":"GET","query":{"x":"1"}}')
    assert ask("POST", f"{second}/payments", "{}")[0] == 200
    assert ask("GET", f"{second}/nope")[0] == 404
    first = cloud.http_api(name, "$default", version="1.0")
    assert ask("GET", f"{first}/users?a=1") == (200, '{"resource":"Users","method":"GET","query":{"a":"1"}}')


TOLD_WHAT_IT_GOT = """
def handler(event, context):
    print("got", __import__("json").dumps(event, sort_keys=True))
    return ANSWER
"""


def test_004_13a_waits_for_one_function_after_the_other(cloud):
    for name, answer in (("check-inventory", {"sku": "s1", "free": 3}), ("process-payment", {"paid": True})):
        source = TOLD_WHAT_IT_GOT.replace("ANSWER", repr(answer))
        cloud.create(name, {"app.py": source}, "app.handler", "python3.11")
    name = cloud.deploy("004_13a", packages=V2)
    assert cloud.invoke(name, {"sku": "s1"}) == (None, None)

    def got(called):
        lines = cloud.lines(called, reports(1))
        return [json.loads(line.removeprefix("got ")) for line in lines if line.startswith("got ")]

    assert got("check-inventory") == [{"sku": "s1"}]
    assert got("process-payment") == [{"sku": "s1", "inventory": {"sku": "s1", "free": 3}}]


@pytest.mark.parametrize("sdk", ["aws-sdk", "aws-sdk-query"])
def test_004_13b_leaves_the_work_in_a_queue(cloud, sdk):
    """The SDK v2 speaks JSON to SQS, and its older versions query."""
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="inventory")["QueueUrl"]
    aliased = {"node_modules/aws-sdk/index.js": f"module.exports = require('{sdk}')"} if sdk != "aws-sdk" else {}
    url = f"https://sqs.us-east-1.amazonaws.com/{cloud.number}/inventory"
    name = cloud.deploy("004_13b", packages=(sdk,), more=aliased, INVENTORY_QUEUE_URL=url)
    assert cloud.invoke(name, {"sku": "s1"}) == (None, None)
    messages = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert [json.loads(message["Body"]) for message in messages] == [{"sku": "s1"}]
