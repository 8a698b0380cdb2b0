"""A flood from an unknown source: INVITE and REGISTER alternating, each a new call, at a constant rate from several ports.
Prints what was sent and received, in messages and bytes.

usage: flood.py HOST PORT PER-SECOND SECONDS
"""

import json
import select
import socket
import sys
import time

HOST, PORT, RATE, SECONDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
SDP = (
    "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
)


def message(n, port):
    method, body = ("INVITE", SDP) if n % 2 else ("REGISTER", "")
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} sip:{100 + n % 900}@{HOST}:{PORT} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 198.51.100.2:{port};branch=z9hG4bKflood{n};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:{100 + n % 900}@{HOST}>;tag=f{n}\r\nTo: <sip:{100 + n % 900}@{HOST}>\r\n"
        f"Call-ID: flood-{n}\r\nCSeq: 1 {method}\r\nContact: <sip:x@198.51.100.2:{port}>\r\n"
        f"User-Agent: friendly-scanner\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
for s in sockets:
    s.bind(("198.51.100.2", 0))
    s.setblocking(False)
ports = [s.getsockname()[1] for s in sockets]
seen = {"sent": 0, "sent_bytes": 0, "got": 0, "got_bytes": 0}


def listen():
    for s in select.select(sockets, [], [], 0)[0]:
        try:
            while True:
                seen["got_bytes"] += len(s.recv(65536))
                seen["got"] += 1
        except BlockingIOError:
            pass


start = time.monotonic()
while (now := time.monotonic() - start) < SECONDS:
    while seen["sent"] < now * RATE:
        n = seen["sent"]
        m = message(n, ports[n % 5])
        sockets[n % 5].sendto(m, (HOST, PORT))
        seen["sent"] += 1
        seen["sent_bytes"] += len(m)
    listen()
    time.sleep(0.002)
time.sleep(1)
listen()
print(json.dumps(seen), flush=True)
