"""Shows Tule at work: starts it, deploys this application, places orders and tells what became of them.

Needs nothing but Tule itself. What it starts, it stops, unless it is told to leave it running (--keep).
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
TULE = str(Path(sys.executable).with_name("tule"))
GOOD = [("chair", 2), ("table", 1), ("lamp", 12)]
POISON = ("ghost", -1)
PATIENCE_S = 60
LOOK_EVERY_S = 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave Tule running when the show is over")
    parser.add_argument("--store", help="where Tule keeps its data, e.g. postgresql://…")
    parser.add_argument("--port", help="port of Tule, 4566 unless that is taken; 0 takes a free one")
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix="tule-demo-")
    try:
        show(home, options)
    except KeyboardInterrupt:
        print("\nStopped.")
        sys.exit(130)
    finally:
        if not options.keep:
            tule(home, "down", check=False)
            shutil.rmtree(home, ignore_errors=True)


def show(home, options):
    step("Starting Tule (durable, in a directory of its own)")
    store = ["--store", options.store] if options.store else []
    port = options.port or ("4566" if is_free(4566) else "0")
    print(tule(home, "up", "--detach", "--port", port, *store).partition("\n\n")[0])

    step("Deploying examples/orders from its stock SAM template (the first time fetches esbuild and the AWS SDK)")
    deployed = json.loads(tule(home, "deploy", str(HERE), "--json"))
    api = deployed["apis"][0]["path_url"]
    for name, value in deployed["outputs"].items():
        print(f"  {name:<17} {value}")
    print(f"  {'API':<17} {deployed['apis'][0]['url']}")

    step("Placing orders through the HTTP API")
    placed = [place(api, item, quantity) for item, quantity in GOOD]

    step("Each travels: HTTP API -> function (Node) -> queue -> function (Python) -> table")
    for order in placed:
        kept = wait_for(lambda order=order: shown(api, order["id"]))
        print(f"  {kept['id']}  {kept['quantity']:>3} x {kept['item']:<6} {kept['status']}")

    step("Placing an order that nobody can fulfil")
    poison = place(api, *POISON)
    print("  The queue gives it three tries, 30 seconds apart. The clock is Tule's, so nobody waits for them:")
    rejected = wait_for(lambda: dead(home, deployed["outputs"]["RejectedQueueUrl"]))
    body = json.loads(rejected["Body"])
    assert body["id"] == poison["id"], "the dead letter is the poison order"
    print(f"  in the dead-letter queue: {rejected['Body']}")
    print(f"  because: {why_dead(home)}")

    step("The way of one order, with the price of each hop")
    print(tule(home, "traces", trace_of_an_order(home)))
    step("Every accepted event has a fate")
    print(tule(home, "ledger"))
    step("Go on")
    program = TULE if shutil.which("tule") is None else "tule"
    program = os.path.relpath(program) if program.startswith(os.getcwd()) else program
    if options.keep:
        print(f"  Tule goes on running. After `export TULE_DIR={home}`:")
        print(f"  {program} logs                      what the functions wrote")
        print(f"  {program} traces                    what every request did")
        print(f"  {program} down                      the end")
        return
    print("  The demo has stopped its Tule. One that stays, with its data in ~/.tule:")
    print(f"  {program} up --detach               start it")
    print(f"  {program} deploy examples/orders    deploy this application, or yours")
    print(f'  eval "$({program} env)"             point AWS tools and SDKs at it')
    print(f"  {program} --help                    everything else")
    print("  docs/tutorials has a queue, a table, a function and a stack, step by step.")


def is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def step(text):
    print(f"\n== {text}", flush=True)


def tule(home, *arguments, check=True):
    """Run a command of Tule and give what it printed."""
    columns = str(shutil.get_terminal_size((160, 24)).columns)  # a pipe has none
    environment = {**os.environ, "TULE_DIR": home, "COLUMNS": columns}
    environment.pop("TULE_PORT", None)
    done = subprocess.run([TULE, *arguments], capture_output=True, text=True, env=environment)
    if check and done.returncode != 0:
        sys.exit(f"tule {' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
    return done.stdout.rstrip()


def place(api, item, quantity):
    data = json.dumps({"item": item, "quantity": quantity}).encode()
    request = urllib.request.Request(f"{api}/orders", data, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        order = json.load(answer)
    print(f"  POST /orders  {quantity:>3} x {item:<6} -> {answer.status} {order['id']}")
    return order


def trace_of_an_order(home):
    """The trace of the last good order: by then the first function was warm."""
    traces = json.loads(tule(home, "traces", "--limit", "200", "--json"))["traces"]
    posted = [trace["trace"] for trace in traces if trace["name"].startswith("http-api POST")]
    return posted[1]  # the newest is the poison order's


def shown(api, order_id):
    """The order as the API shows it, or None as long as it is not in the table."""
    try:
        with urllib.request.urlopen(f"{api}/orders/{order_id}", timeout=PATIENCE_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def dead(home, queue_url):
    """The first message of the dead-letter queue; while there is none, time moves on by 31 seconds."""
    import boto3

    keys = json.loads(tule(home, "env", "--json"))
    queue = boto3.client(
        "sqs",
        endpoint_url=keys["AWS_ENDPOINT_URL"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=keys["AWS_REGION"],
    )
    found = queue.receive_message(QueueUrl=queue_url, WaitTimeSeconds=1).get("Messages")
    if found:
        return found[0]
    tule(home, "clock", "advance", "31s")
    return None


def why_dead(home):
    """What the ledger says of the last event that was not delivered."""
    return json.loads(tule(home, "ledger", "--json"))["abnormal"][0]["reason"]


def wait_for(look):
    """What `look` gives, once it gives something."""
    patience = threading.Event()
    for _ in range(int(PATIENCE_S / LOOK_EVERY_S)):
        found = look()
        if found:
            return found
        patience.wait(LOOK_EVERY_S)
    sys.exit("It did not happen within a minute; `tule logs` may say why.")


if __name__ == "__main__":
    main()
