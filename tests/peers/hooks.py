"""Redirects all calls of schemathesis to this machine, and writes numbers as clients do."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict):
        case.body = at_home_and_possible(case.body)


def at_home_and_possible(body):
    # In JSON Schema 8.0 is an integer; as in the reference product, a fractional literal is not accepted here.
    body = {k: whole(v) for k, v in body.items()}
    for field in ("uri", "target"):
        if isinstance(body.get(field), str) and body[field].lower().startswith(("sip:", "sips:")):
            body[field] = "sip:nobody@127.0.0.1:9"
    for trunk in ("sip_register", "ip_ip"):
        if isinstance(body.get(trunk), dict):
            body[trunk] = {k: at_home(k, v) for k, v in body[trunk].items()}
    if isinstance(body.get("amd"), dict):
        body["amd"] = long_enough({k: whole(v) for k, v in body["amd"].items()})
    return long_enough(body)


def long_enough(amd):
    """Enforces that one field is not less than another, as required by answering-machine detection; a schema cannot."""
    total, initial = (amd.get(k) for k in ("total_analysis_time", "initial_silence_timeout"))
    if total is None and initial is None or not all(v is None or type(v) in (int, float) for v in (total, initial)):
        return amd
    at_least = initial if initial and initial > 0 else 2500
    if (total if total and total > 0 else 5000) < at_least <= 600_000:
        amd = {**amd, "total_analysis_time": at_least}
    return amd


def whole(value):
    return int(value) if isinstance(value, float) and value.is_integer() else value


def at_home(field, value):
    """Replaces the addresses of a trunk, if they are SIP URIs."""
    if not isinstance(value, str) or not value.lower().startswith(("sip:", "sips:")):
        return whole(value)
    homes = {"registrar_uri": "sip:127.0.0.1:9", "aor": "sip:100@example.net", "outbound_proxy": "sip:127.0.0.1:9"}
    return homes.get(field, "sip:127.0.0.1:9" if field == "peer_uri" else value)
