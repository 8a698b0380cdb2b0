"""Answers every call over REST when its leg.ringing arrives, and records the events of each leg.

usage: answerer.py PORT API      A line on standard input prints the summary so far as one line of JSON.
"""

import http.client
import http.server
import json
import sys
import threading
from urllib.parse import urlparse

PORT, API = int(sys.argv[1]), urlparse(sys.argv[2])
legs, lock, local = {}, threading.Lock(), threading.local()


def answer(leg):
    for _ in range(2):
        if not hasattr(local, "api"):
            local.api = http.client.HTTPConnection(API.netloc, timeout=10)
        try:
            local.api.request("POST", f"/v1/legs/{leg}/answer")
            reply = local.api.getresponse()
            reply.read()
            return reply.status
        except (OSError, http.client.HTTPException):
            del local.api
    return 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        leg = event.get("leg_id")
        with lock:
            legs.setdefault(leg, []).append(event)
        if event["type"] == "leg.ringing" and answer(leg) != 200:
            with lock:
                legs[leg].append({"type": "answer failed"})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_address[1]}), flush=True)
WANTED = ["leg.ringing", "leg.connected", "leg.disconnected"]
for _ in sys.stdin:
    with lock:
        seen = {k: list(v) for k, v in legs.items()}
    bad, lost, received = [], 0, 0
    for leg, events in seen.items():
        # The number of speaking events depends on the audio.
        kinds = [e["type"] for e in events if not e["type"].startswith("speaking.")]
        if kinds != WANTED or [e.get("leg_seq") for e in events] != list(range(1, len(events) + 1)):
            bad.append([e["type"] for e in events])
            continue
        quality = events[-1].get("quality", {})
        got, gone = quality.get("rtp_packets_received", 0), quality.get("rtp_packets_lost", 0)
        lost, received = lost + gone, received + got
        if got < 450 or gone > (got + gone) / 1000:
            bad.append(["media", got, gone])
    done = sum(1 for v in seen.values() if v[-1]["type"] == "leg.disconnected")
    print(json.dumps({"legs": len(seen), "done": done, "bad": bad[:10], "lost": lost, "received": received}), flush=True)
