"""The whole of Tule on a disk that runs full: requests are refused, nothing told is lost, and it goes on with room."""

import os
import subprocess
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError

from tule.testing.server import Tule, TuleFailedError

pytestmark = pytest.mark.faults
BALLAST = 24 * 1024 * 1024
LETTER = "x" * 200_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MiB, half of it taken."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; run the suite as root to include this test")
    home = tmp_path / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", home], check=True)
    (home / "ballast").write_bytes(bytes(BALLAST))
    yield home
    subprocess.run(["umount", home], check=True)


def until_refused(call):
    """Call with 0, 1, 2 ... until Tule refuses; gives what was told before, and the refusal."""
    for number in range(1_000):
        try:
            call(number)
        except ClientError as error:
            return number, error.response
    raise AssertionError("the disk never ran full")


def content(number):
    """No two are alike, or they would share a file."""
    return b"%04d" % number * 250_000


def waiting(queues, url):
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def test_a_full_disk_refuses_and_recovers(small_disk):
    with Tule(small_disk / "home") as tule:
        queues, buckets = tule.client("sqs"), tule.client("s3")
        url = queues.create_queue(QueueName="letters")["QueueUrl"]
        buckets.create_bucket(Bucket="attic")
        objects, refusal = until_refused(lambda n: buckets.put_object(Bucket="attic", Key=f"{n:03}", Body=content(n)))
        assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 503
        letters, refusal = until_refused(lambda n: queues.send_message(QueueUrl=url, MessageBody=f"{n} {LETTER}"))
        assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 503
        # It is still there, and what it told can be read.
        assert tule.admin("status")["pid"] == tule.process.pid
        assert [item["Key"] for item in buckets.list_objects_v2(Bucket="attic")["Contents"]] == keys(objects)
        assert buckets.get_object(Bucket="attic", Key="000")["Body"].read() == content(0)
        assert waiting(queues, url) == letters

        (small_disk / "ballast").unlink()
        once_more(lambda: queues.send_message(QueueUrl=url, MessageBody="after"))
        once_more(lambda: buckets.put_object(Bucket="attic", Key=f"{objects:03}", Body=content(objects)))
        tule.kill()
        tule.start()
        queues, buckets = tule.client("sqs"), tule.client("s3")
        url = queues.get_queue_url(QueueName="letters")["QueueUrl"]
        assert waiting(queues, url) == letters + 1
        assert [item["Key"] for item in buckets.list_objects_v2(Bucket="attic")["Contents"]] == keys(objects + 1)


def keys(count):
    return [f"{number:03}" for number in range(count)]


def once_more(call):
    """The first call with room again may still be refused: the store is being loaded anew."""
    with suppress(ClientError):
        call()
        return
    call()


def test_a_disk_that_can_not_be_written_is_refused_at_the_start(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(TuleFailedError, match=r"code 1 .*\n.*can't be used: Read-only file system") as refused:
        Tule(small_disk / "home")
    assert "Traceback" not in str(refused.value)
