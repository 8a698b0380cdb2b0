"""Keeps every call that schemathesis places on this machine, and numbers as clients write them."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    # JSON Schema counts 8.0 as an integer; as in the reference product, a fractional literal is none here.
    body = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in body.items()}
    for field in ("uri", "target"):
        if isinstance(body.get(field), str) and body[field].lower().startswith("sip:"):
            body[field] = "sip:nobody@127.0.0.1:9"
    return body
