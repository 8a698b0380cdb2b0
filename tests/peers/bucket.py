"""An S3 server that verifies signatures (moto), behind a TCP proxy ("line") that can inject faults.

usage: bucket.py BUCKET...      Prints one line of JSON when it is ready, and one for each command on standard input:
    line pass|reset|fail|cut|stall|slow   behaviour of the line from the next connection on
    list BUCKET                           the objects and their SHA-256, and incomplete multipart uploads
    get BUCKET KEY FILE                   writes an object to a file
    parts                                 number of parts sent over the line
"""

import hashlib
import json
import logging
import os
import socket
import sys
import threading
import time

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "3"

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

ERROR = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
state = {"line": "pass", "parts": 0}


def tell(**fields):
    print(json.dumps(fields), flush=True)


def relay(source, sink, limit=None, pace=0.0, count=False):
    sent, tail = 0, b""
    try:
        while data := source.recv(16384):
            if count:
                # A request line may arrive in two segments.
                state["parts"] += (tail + data).count(b"&uploadId=") - tail.count(b"&uploadId=")
                tail = data[-64:]
            if limit is not None and sent + len(data) > limit:
                break
            sink.sendall(data)
            sent += len(data)
            if pace:
                time.sleep(pace)
    except OSError:
        pass
    for s in (source, sink):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, upstream):
    how = state["line"]
    if how == "reset":
        client.close()
        return
    if how == "stall":
        while client.recv(65536):
            pass
        return
    if how == "fail":
        client.recv(65536)
        head = f"HTTP/1.1 500 Internal Server Error\r\nContent-Length: {len(ERROR)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + ERROR)
        client.close()
        return
    server = socket.create_connection(upstream)
    limit = 3000 if how == "cut" else None
    pace = 0.005 if how == "slow" else 0.0
    threading.Thread(target=relay, args=(server, client), daemon=True).start()
    relay(client, server, limit, pace, True)


def line(upstream):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, upstream), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    anyone = {"endpoint_url": url, "region_name": "us-east-1"}
    iam = boto3.client("iam", aws_access_key_id="a", aws_secret_access_key="b", **anyone)
    iam.create_user(UserName="branch")
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="branch", PolicyName="p", PolicyDocument=json.dumps(allowed))
    key = iam.create_access_key(UserName="branch")["AccessKey"]
    s3 = boto3.client(
        "s3",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        config=Config(s3={"addressing_style": "path"}),
        **anyone,
    )
    for bucket in sys.argv[1:]:
        s3.create_bucket(Bucket=bucket)
    port = line((host, int(port)))
    tell(what="ready", url=f"http://127.0.0.1:{port}", access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    for order in sys.stdin:
        match order.split():
            case ["line", how]:
                state["line"] = how
                tell(what="line")
            case ["list", bucket]:
                objects = []
                for o in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                    body = s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read()
                    objects.append({"key": o["Key"], "size": len(body), "sha256": hashlib.sha256(body).hexdigest()})
                open_uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
                tell(what="list", objects=objects, open=len(open_uploads))
            case ["get", bucket, key, file]:
                s3.download_file(bucket, key, file)
                tell(what="get")
            case ["parts"]:
                tell(what="parts", count=state["parts"])


main()
