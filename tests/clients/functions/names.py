# ruff: noqa: PTH118 - a function in a package
"""boto3 that is told to ignore endpoints, and what else a program may ask of AWS's names."""

import os
import socket
import urllib.error
import urllib.request

import boto3


def sqs(event):
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="names")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="hello")
    body = client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"]
    return {"endpoint": client.meta.endpoint_url, "url": url, "body": body}


def s3(event):
    client = boto3.client("s3")
    client.create_bucket(Bucket=event["bucket"])
    client.put_object(Bucket=event["bucket"], Key="k", Body=b"x")
    return client.get_object(Bucket=event["bucket"], Key="k")["Body"].read().decode()


def who(event):
    return boto3.client("sts").get_caller_identity()["Arn"]


def status(event):
    """Status and body of a GET with this machine's own trust."""
    try:
        with urllib.request.urlopen(event["url"], timeout=10) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]


def address(event):
    return socket.getaddrinfo(event["name"], 443, socket.AF_INET)[0][4][0]


def files(event):
    """Everything below a folder that this program may read."""
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(event["folder"])
        for name in names
        if os.access(os.path.join(folder, name), os.R_OK)
    ]


def handler(event, context):
    return globals()[event["do"]](event)
