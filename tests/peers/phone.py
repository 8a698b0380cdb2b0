"""A third-party phone (baresip), controlled by lines on standard input, reporting on standard output. Received
audio is written to a file of raw 16-bit samples.

usage: phone.py PORT VOICE.wav HEARD.raw USER [ACCOUNT-PARAMETER | set:FIELD=VALUE | config:LINE …]
       set: sets a field of the account (domain, password, registrar, transport, reg_interval, codec),
       config: adds a line to the stack's configuration
commands: dial URI | refused URI | answer | digits D | hold | resume | hangup | quit
          transfer URI | attended (the first call to the last) | accept | reject CODE | register | unregister
"""

import asyncio
import json
import os
import sys

from baresip import Account, BaresipError, CallFailed, CallTimeout, Config
from baresip.runtime import Runtime
from baresip.ua import UserAgent

PORT, VOICE, HEARD, USER = sys.argv[1:5]
HOME = os.environ.get("PHONE_IP", "127.0.0.1")
SET = dict(p[4:].split("=", 1) for p in sys.argv[5:] if p.startswith("set:"))
CONFIG = [p[7:] for p in sys.argv[5:] if p.startswith("config:")]
PARAMETERS = tuple(p for p in sys.argv[5:] if not p.startswith(("set:", "config:")))


def say(what, **more):
    print(json.dumps({"is": what, **more}), flush=True)


async def listen(call, out):
    """Writes the first channel of the received audio until the call ends."""
    rate = 0
    while call.final_stats is None:
        try:
            info = call.audio.info()
            pcm = call.audio.read(1 << 16)
            if info.rx_channels == 2:
                pcm = b"".join(pcm[i : i + 2] for i in range(0, len(pcm), 4))
            if pcm and rate != info.rx_sample_rate:
                rate = info.rx_sample_rate
                say("hears", rate=rate, channels=info.rx_channels)
        except Exception:
            pcm = b""
        if pcm:
            out.write(pcm)
            out.flush()
        await asyncio.sleep(0.02)
    say("ended")


async def main():
    runtime = Runtime()
    await runtime.start(
        Config(
            net_interface=HOME,
            audio_source=f"aufile,{VOICE}",
            audio_player=None,
            extra_config_text="\n".join([f"sip_listen {HOME}:{PORT}", *CONFIG, ""]),
        )
    )
    ua = await UserAgent.create(
        runtime,
        Account(
            user=USER,
            domain=SET.get("domain", f"{HOME}:{PORT}"),
            password=SET.get("password", ""),
            registrar=SET.get("registrar"),
            reg_interval=int(SET.get("reg_interval", 0)),
            transport=SET.get("transport", "udp"),
            audio_codecs=(SET.get("codec", "pcmu"),),
            extra_params=PARAMETERS,
        ),
    )
    calls, tasks, out = [], [], open(HEARD, "wb")

    def follow(call):
        calls.append(call)
        call.on_dtmf(lambda event: say("digit", digit=str(getattr(event, "key", getattr(event, "digit", event)))))
        call.on_transfer_request(lambda request: say("asked to transfer", target=request.target))
        tasks.append(asyncio.ensure_future(listen(call, out)))

    def incoming(call):
        say("incoming")
        follow(call)

    ua.on_incoming(incoming)
    say("ready")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        verb = line[0]
        try:
            if verb == "dial":
                follow(await ua.dial(line[1]))
                tasks.append(asyncio.ensure_future(established(calls[-1])))
            elif verb == "refused":
                await refused(ua, line[1])
            elif verb == "answer":
                await answer(calls[-1])
                tasks.append(asyncio.ensure_future(established(calls[-1])))
            elif verb == "digits":
                await calls[-1].send_dtmf(line[1])
            elif verb == "hold":
                await calls[-1].hold()
            elif verb == "resume":
                await calls[-1].resume()
            elif verb == "hangup":
                await calls[-1].hangup()
            elif verb == "transfer":
                await calls[-1].transfer(line[1])
            elif verb == "attended":
                await calls[0].attended_transfer(calls[-1])
            elif verb == "accept":
                follow(await next(c for c in calls if c.transfer_request).accept_transfer())
                tasks.append(asyncio.ensure_future(established(calls[-1])))
            elif verb == "reject":
                await next(c for c in calls if c.transfer_request).reject_transfer(int(line[1]))
            elif verb == "register":
                await ua.register(timeout=10)
            elif verb == "unregister":
                await ua.unregister(timeout=10)
            elif verb == "quit":
                break
            say("done", verb=verb)
        except Exception as e:
            say("failed", verb=verb, error=repr(e))
    await runtime.close()


async def answer(call):
    """Answers; retries while the phone waits for the PRACK of its 180 (it refuses until then)."""
    for _ in range(250):
        try:
            return await call.answer()
        except BaresipError as e:
            if "temporarily unavailable" not in str(e):
                raise
            await asyncio.sleep(0.02)
    raise TimeoutError("no PRACK in 5 s")


async def refused(ua, uri):
    """Dials a far end that refuses within a millisecond, which the phone's Python bindings sometimes miss."""
    for _ in range(5):
        try:
            await (await ua.dial(uri)).wait_established(2)
            return say("established")
        except CallTimeout:
            continue
        except CallFailed as e:
            return say("not established", error=repr(e))
    say("not established", error="the phone was told of no end of any of five calls")


async def established(call):
    try:
        await call.wait_established(30)
        say("established")
    except Exception as e:
        say("not established", error=repr(e))


asyncio.run(main())
