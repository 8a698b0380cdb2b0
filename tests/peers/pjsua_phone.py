"""A third-party phone (pjsua), controlled by lines on standard input, reporting on standard output like `phone.py`.
Received audio is written to a file of 16-bit samples; the SIP messages of its calls are reported, too.

usage: pjsua_phone.py PORT VOICE.wav HEARD.raw USER [set:FIELD=VALUE | sdp:PATTERN=>TEXT …]
       set: transport (udp, tcp, tls), codec, domain, registrar, password, reg_interval, srtp (optional, required),
       media (its address), says (the address in its SDP), lines (audio lines), vad, pauses (yes; of its voice), expires (s, of sessions),
       cert, ca (files)
       sdp: modifies the session descriptions that it creates
commands: dial URI | answer | digits D | info D | hold | resume | hangup | quit | register | unregister
          transfer URI | attended (the first call to the last) | reinvite | update | refresh (an UPDATE without offer)
          disconnect (closes its connections) | crossing VERB (VERB before it reads what has arrived meanwhile)
"""

import json
import os
import queue
import re
import sys
import threading
import time
import wave

import pjsua2 as pj

PORT, VOICE, HEARD, USER = int(sys.argv[1]), *sys.argv[2:5]
HOME = os.environ.get("PHONE_IP", "127.0.0.1")
SET = dict(p[4:].split("=", 1) for p in sys.argv[5:] if p.startswith("set:"))
SDP = [p[4:].split("=>", 1) for p in sys.argv[5:] if p.startswith("sdp:")]
TRANSPORT = SET.get("transport", "udp")
KINDS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}

calls, connections = [], {}


def say(what, **more):
    sys.stdout.write(json.dumps({"is": what, **more}) + "\n")
    sys.stdout.flush()


class Phone(pj.Endpoint):
    def onTransportState(self, prm):
        if prm.type != "UDP" and prm.state == pj.PJSIP_TP_STATE_CONNECTED:
            connections[int(prm.hnd)] = prm.hnd
        elif prm.state in (pj.PJSIP_TP_STATE_DISCONNECTED, pj.PJSIP_TP_STATE_DESTROY):
            if connections.pop(int(prm.hnd), None):
                say("disconnected")


class Account(pj.Account):
    def onRegState(self, prm):
        info = self.getInfo()
        say("registration", code=prm.code, active=info.regIsActive, expires=info.regExpiresSec)

    def onIncomingCall(self, prm):
        calls.append(Call(self, prm.callId))
        calls[-1].answer_with(180)
        say("incoming")


class Call(pj.Call):
    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.account = account

    def answer_with(self, code):
        prm = pj.CallOpParam(True)
        prm.statusCode = code
        self.answer(prm)

    def onCallState(self, _):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            say("established")
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            say("not established" if info.connectDuration.sec + info.connectDuration.msec == 0 else "ended", code=info.lastStatusCode)

    def onCallMediaState(self, _):
        info = self.getInfo()
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status in (
                pj.PJSUA_CALL_MEDIA_ACTIVE,
                pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
            ):
                audio = self.getAudioMedia(media.index)
                player.startTransmit(audio)
                audio.startTransmit(recorder)

    def onCallTsxState(self, prm):
        body = prm.e.body.tsxState
        if body.type == pj.PJSIP_EVENT_RX_MSG:
            text = body.src.rdata.wholeMsg.replace("\r", "")
            say("received", start=text.split("\n")[0], text=text)
        elif body.type == pj.PJSIP_EVENT_TX_MSG:
            text = body.src.tdata.wholeMsg.replace("\r", "")
            say("sent", start=text.split("\n")[0], text=text)

    def onCallSdpCreated(self, prm):
        text = prm.sdp.wholeSdp
        for pattern, by in SDP:
            text = re.sub(pattern, by.replace("|", "\r\n"), text, count=1)
        if text != prm.sdp.wholeSdp:
            prm.sdp.wholeSdp = text

    def onDtmfDigit(self, prm):
        say("digit", digit=prm.digit, method="info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733")

    def onCallTransferStatus(self, prm):
        if prm.finalNotify:
            say("transfer", code=prm.statusCode)

    def onCallReplaced(self, prm):
        prm.newCall = Call(self.account, prm.newCallId)
        calls.append(prm.newCall)


def start():
    """The stack, run in the calling thread only."""
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.userAgent = "pjsua"
    config.medConfig.clockRate = config.medConfig.sndClockRate = 8000
    config.medConfig.audioFramePtime = 20
    config.medConfig.ecTailLen = 0
    config.medConfig.noVad = SET.get("vad") != "yes"
    config.logConfig.level = config.logConfig.consoleLevel = 0
    phone.libCreate()
    phone.libInit(config)
    transport = pj.TransportConfig()
    transport.port, transport.boundAddress = PORT, HOME
    if TRANSPORT == "tls":
        transport.tlsConfig.certFile = transport.tlsConfig.privKeyFile = SET["cert"]
        transport.tlsConfig.CaListFile = SET["ca"]
        transport.tlsConfig.verifyServer = True
    phone.transportCreate(KINDS[TRANSPORT], transport)
    # Its OpenSSL has no digest algorithms, not even MD5, before a TLS function was called.
    phone.utilSslGetAvailableCiphers()
    phone.libStart()
    phone.audDevManager().setNullDev()
    wanted = SET.get("codec", "PCMU")
    for codec in phone.codecEnum2():
        phone.codecSetPriority(codec.codecId, 200 if codec.codecId.startswith(wanted + "/") else 0)


def account():
    config = pj.AccountConfig()
    at = SET.get("domain", f"{HOME}:{PORT}")
    config.idUri = f"sip:{USER}@{at}"
    if "registrar" in SET:
        config.regConfig.registrarUri = SET["registrar"]
        config.regConfig.timeoutSec = int(SET.get("reg_interval", 60))
        config.regConfig.registerOnAdd = False
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", USER, 0, SET["password"]))
    media = config.mediaConfig
    media.transportConfig.boundAddress = SET.get("media", HOME)
    media.transportConfig.publicAddress = SET.get("says", "")
    media.transportConfig.port = 20000 + PORT % 1000 * 20
    if "srtp" in SET:
        media.srtpUse = pj.PJMEDIA_SRTP_MANDATORY if SET["srtp"] == "required" else pj.PJMEDIA_SRTP_OPTIONAL
        media.srtpSecureSignaling = 0
    media.lockCodecEnabled = False
    config.natConfig.sdpNatRewriteUse = False
    if "expires" in SET:
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
        config.callConfig.timerSessExpiresSec = int(SET["expires"])
    made = Account()
    made.create(config)
    return made


def settings(flag=0):
    prm = pj.CallOpParam(True)
    prm.opt.audioCount, prm.opt.videoCount = int(SET.get("lines", 1)), 0
    prm.opt.flag |= flag
    return prm


def send(digits, method):
    prm = pj.CallSendDtmfParam()
    prm.digits, prm.method, prm.duration = digits, method, 100
    calls[-1].sendDtmf(prm)


def unread():
    """Whether data is available in its socket."""
    with open("/proc/net/udp") as table:
        rows = [row.split() for row in table][1:]
    return any(row[1].endswith(f":{PORT:04X}") and row[4].split(":")[1] != "00000000" for row in rows)


def obey(verb, rest):
    if verb == "dial":
        calls.append(Call(me))
        calls[-1].makeCall(rest[0], settings())
    elif verb == "answer":
        calls[-1].answer_with(200)
    elif verb == "digits":
        calls[-1].dialDtmf(rest[0])
    elif verb == "info":
        send(rest[0], pj.PJSUA_DTMF_METHOD_SIP_INFO)
    elif verb == "hold":
        calls[-1].setHold(pj.CallOpParam(True))
    elif verb == "resume":
        calls[-1].reinvite(settings(pj.PJSUA_CALL_UNHOLD))
    elif verb == "reinvite":
        calls[-1].reinvite(settings())
    elif verb == "update":
        calls[-1].update(settings())
    elif verb == "refresh":
        calls[-1].update(settings(pj.PJSUA_CALL_NO_SDP_OFFER))
    elif verb == "hangup":
        calls[-1].hangup(pj.CallOpParam(True))
    elif verb == "transfer":
        calls[-1].xfer(rest[0], pj.CallOpParam(True))
    elif verb == "attended":
        calls[-1].xferReplaces(calls[0], pj.CallOpParam(True))
    elif verb == "register":
        me.setRegistration(True)
    elif verb == "unregister":
        me.setRegistration(False)
    elif verb == "disconnect":
        for connection in list(connections.values()):
            phone.transportShutdown(connection)
    elif verb == "crossing":
        say("waits")
        until = time.monotonic() + 10
        while not unread():
            if time.monotonic() > until:
                raise TimeoutError("nothing has arrived")
        obey(rest[0], rest[1:])
    else:
        raise ValueError("not a command")


orders = queue.Queue()


def read():
    for line in sys.stdin:
        orders.put(line.split())
    orders.put(["quit"])


def with_pauses(path):
    """The first half of each second of the voice."""
    with wave.open(path) as voice:
        rate, data = voice.getframerate(), voice.readframes(voice.getnframes())
    with wave.open(path + ".pauses.wav", "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        for i in range(0, len(data), rate * 2):
            out.writeframes(data[i : i + rate] + bytes(rate))
    return path + ".pauses.wav"


phone = Phone()
start()
player, recorder = pj.AudioMediaPlayer(), pj.AudioMediaRecorder()
player.createPlayer(with_pauses(VOICE) if SET.get("pauses") == "yes" else VOICE)
# The recorder selects the format by the file name.
recorder.createRecorder(HEARD + ".wav")
os.path.lexists(HEARD) and os.remove(HEARD)
os.symlink(HEARD + ".wav", HEARD)
me = account()
threading.Thread(target=read, daemon=True).start()
say("ready")
while True:
    # "crossing" needs received messages to stay unread.
    try:
        verb, *rest = orders.get_nowait()
    except queue.Empty:
        phone.libHandleEvents(10)
        continue
    if verb == "quit":
        break
    try:
        obey(verb, rest)
        say("done", verb=verb)
    except Exception as e:
        say("failed", verb=verb, error=getattr(e, "reason", "") or repr(e))
sys.stdout.flush()
os._exit(0)
