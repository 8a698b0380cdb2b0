"""Keeps every call that schemathesis places on this machine."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("uri"), str) and body["uri"].lower().startswith("sip:"):
        body["uri"] = "sip:nobody@127.0.0.1:9"
    return body
