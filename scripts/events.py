#!/usr/bin/env python3
"""Prints the events that a gateway posts to http://127.0.0.1:PORT/ (default 9000), one per line."""

import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # A single write, since several events may arrive concurrently.
        sys.stdout.buffer.write(body + b"\n")
        sys.stdout.buffer.flush()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
