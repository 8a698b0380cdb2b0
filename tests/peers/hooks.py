"""Keeps every call that schemathesis places on this machine, and numbers as clients write them."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    # JSON Schema counts 8.0 as an integer; as in the reference product, a fractional literal is none here.
    body = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in body.items()}
    for field in ("uri", "target"):
        if isinstance(body.get(field), str) and body[field].lower().startswith(("sip:", "sips:")):
            body[field] = "sip:nobody@127.0.0.1:9"
    for trunk in ("sip_register", "ip_ip"):
        if isinstance(body.get(trunk), dict):
            body[trunk] = {k: at_home(k, v) for k, v in body[trunk].items()}
    return body


def at_home(field, value):
    """The addresses of a trunk, as far as they are any."""
    if not isinstance(value, str) or not value.lower().startswith(("sip:", "sips:")):
        return int(value) if isinstance(value, float) and value.is_integer() else value
    homes = {"registrar_uri": "sip:127.0.0.1:9", "aor": "sip:100@example.net", "outbound_proxy": "sip:127.0.0.1:9"}
    return homes.get(field, "sip:127.0.0.1:9" if field == "peer_uri" else value)
