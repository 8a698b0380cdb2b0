//! The cases of RFC 4475 as messages of our own, each with the expected reaction.

pub const SDP: &str =
    "v=0\r\no=u 1 1 IN IP4 192.168.7.9\r\ns=-\r\nc=IN IP4 192.168.7.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Expected reaction of the gateway.
#[derive(Debug, Clone, Copy)]
pub enum Want {
    /// An INVITE is accepted: it rings.
    Rings,
    /// Answered with this code.
    Code(u16),
    /// Answered with one of these.
    Either(u16, u16),
    /// No answer.
    Silence,
}
pub use Want::{Code, Either, Rings, Silence};

/// Folding, odd white space, compact and mixed-case names, escapes, an empty header.
const WSINV: &str = "INVITE sip:vivek@192.168.7.1;unknownparam SIP/2.0
TO :
 sip:vivek@chair.example.com
from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.168.7.9
Content-Language : en
CSeq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.168.7.9;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:\"Quoted string \\\"\\\"\" <sip:jdrosen@192.168.7.9> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
";

pub fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

fn invite(headers: &str) -> Vec<u8> {
    let head = crlf(headers.trim_start());
    let body = SDP.as_bytes();
    let mut m = head;
    m.extend_from_slice(
        format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    m.extend_from_slice(body);
    m
}

fn plain(text: &str) -> Vec<u8> {
    crlf(&format!("{}\n\n", text.trim()))
}

/// The mandatory fields of a request.
pub fn base(method: &str, branch: &str) -> String {
    format!(
        "Via: SIP/2.0/UDP 192.168.7.9;branch={branch}\nMax-Forwards: 70\nFrom: <sip:caller@example.com>;tag=f1\nTo: <sip:called@example.com>\nCall-ID: case-{branch}@example.com\nCSeq: 7 {method}\nContact: <sip:caller@192.168.7.9>\n"
    )
}

fn options(start: &str, extra: &str) -> Vec<u8> {
    plain(&format!("{start}\n{}{extra}", base("OPTIONS", "z9hG4bKtorture")))
}

/// Replaces one header field of the base set.
fn with(method: &str, name: &str, line: &str) -> String {
    let lines: Vec<String> = base(method, "z9hG4bKtorture")
        .lines()
        .map(|l| if l.starts_with(name) { line.to_owned() } else { l.to_owned() })
        .filter(|l| !l.is_empty())
        .collect();
    lines.join("\n") + "\n"
}

/// Section, name, message, verdict.
pub fn cases() -> Vec<(&'static str, &'static str, Vec<u8>, Want)> {
    let sip = "sip:called@192.168.7.1 SIP/2.0";
    let long = "x".repeat(300);
    vec![
        ("3.1.1.1", "wsinv", invite(WSINV), Rings),
        (
            "3.1.1.2",
            "intmeth",
            plain(
                "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@192.168.7.1 SIP/2.0\nVia: SIP/2.0/UDP 192.168.7.9;branch=z9hG4bK-.!%66*_+`'~\nTo: \"BEL:\\\u{7} NUL:\\ DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\nFrom: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"text\";tag=_token~1'+`*%!-.\nCall-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\nextensionHeader-!.%*+_`'~: text",
            ),
            Either(501, 405),
        ),
        (
            "3.1.1.3",
            "esc01",
            invite(&format!(
                "INVITE sip:sips%3Auser%40example.com@192.168.7.1 SIP/2.0\n{}",
                with("INVITE", "To:", "To: sip:%75se%72@example.com")
            )),
            Rings,
        ),
        (
            "3.1.1.4",
            "escnull",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with("REGISTER", "To:", "To: sip:null-%00-null@example.com")
            )),
            Code(405),
        ),
        (
            "3.1.1.5",
            "esc02",
            plain(&format!("RE%47IST%45R {sip}\n{}", base("RE%47IST%45R", "z9hG4bK209%fzsnel234"))),
            Either(501, 405),
        ),
        (
            "3.1.1.6",
            "lwsdisp",
            plain(&format!(
                "OPTIONS {sip}\n{}",
                with("OPTIONS", "From:", "From: caller<sip:caller@example.com>;tag=323")
            )),
            Code(200),
        ),
        (
            "3.1.1.7",
            "longreq",
            invite(&format!(
                "INVITE sip:{long}@192.168.7.1 SIP/2.0\n{}Unknown-{long}: {long}\nSubject: {}\n",
                with("INVITE", "To:", &format!("To: \"{long}\" <sip:{long}@example.com;{long}=no>")),
                long.repeat(6)
            )),
            Rings,
        ),
        (
            "3.1.1.8",
            "dblreq",
            {
                let mut m =
                    plain(&format!("OPTIONS {sip}\n{}Content-Length: 0", base("OPTIONS", "z9hG4bKdbl")));
                m.extend_from_slice(&invite(&format!("INVITE {sip}\n{}", base("INVITE", "z9hG4bKdbl2"))));
                m
            },
            Code(200),
        ),
        (
            "3.1.1.9",
            "semiuri",
            options("OPTIONS sip:user;par=u%40example.net@192.168.7.1 SIP/2.0", ""),
            Code(200),
        ),
        (
            "3.1.1.10",
            "transports",
            options(
                &format!("OPTIONS {sip}"),
                "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKa\nVia: SIP/2.0/TLS t3.example.com;branch=z9hG4bKb\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKc\n",
            ),
            Code(200),
        ),
        (
            "3.1.1.11",
            "mpart01",
            {
                let mut m = plain(&format!(
                    "MESSAGE {sip}\n{}Content-Type: multipart/mixed;boundary=7a\nContent-Length: 40",
                    base("MESSAGE", "z9hG4bKmp")
                ));
                m.extend_from_slice(b"--7a\r\n\r\n\x00\x01\xff\xfe binary \x80\r\n--7a--\r\n          ");
                m
            },
            Code(405),
        ),
        (
            "3.1.1.12",
            "unreason",
            plain(&format!(
                "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}\n{}",
                base("INVITE", "z9hG4bKun")
            )),
            Silence,
        ),
        ("3.1.1.13", "noreason", plain(&format!("SIP/2.0 100 \n{}", base("INVITE", "z9hG4bKno"))), Silence),
        (
            "3.1.2.1",
            "badinv01",
            invite(&format!(
                "INVITE {sip}\n{}",
                with("INVITE", "Via:", "Via: SIP/2.0/UDP 192.168.7.9;;,;,,").replace(
                    "Contact: <sip:caller@192.168.7.9>",
                    "Contact: \"Joe\" <sip:joe@example.org>;;;;"
                )
            )),
            Code(400),
        ),
        (
            "3.1.2.1b",
            "badinv01 (Contact)",
            invite(&format!(
                "INVITE {sip}\n{}",
                with("INVITE", "Contact:", "Contact: \"Joe\" <sip:joe@example.org>;;;;")
            )),
            Code(400),
        ),
        (
            "3.1.2.2",
            "clerr",
            plain(&format!(
                "INVITE {sip}\n{}Content-Type: application/sdp\nContent-Length: 9999",
                base("INVITE", "z9hG4bKcl")
            )),
            Code(400),
        ),
        (
            "3.1.2.3",
            "ncl",
            plain(&format!(
                "INVITE {sip}\n{}Content-Type: application/sdp\nContent-Length: -999",
                base("INVITE", "z9hG4bKnc")
            )),
            Code(400),
        ),
        (
            "3.1.2.4",
            "scalar02 (CSeq)",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with("REGISTER", "CSeq:", "CSeq: 36893488147419103232 REGISTER")
            )),
            Code(400),
        ),
        (
            "3.1.2.4b",
            "scalar02 (Max-Forwards)",
            plain(&format!("REGISTER {sip}\n{}", with("REGISTER", "Max-Forwards:", "Max-Forwards: 300"))),
            Code(400),
        ),
        (
            "3.1.2.4c",
            "scalar02 (Expires)",
            options(&format!("OPTIONS {sip}"), "Expires: 10000000000000000000\n"),
            Code(400),
        ),
        (
            "3.1.2.5",
            "scalarlg",
            plain(&format!(
                "SIP/2.0 503 Service Unavailable\n{}Retry-After: 949302838503028349304023988\n",
                with("INVITE", "CSeq:", "CSeq: 9292394834772304023312 OPTIONS")
            )),
            Silence,
        ),
        (
            "3.1.2.6",
            "quotbal",
            invite(&format!(
                "INVITE {sip}\n{}",
                with("INVITE", "To:", "To: \"Mr. J. User <sip:j.user@example.com>")
            )),
            Code(400),
        ),
        (
            "3.1.2.7",
            "ltgtruri",
            invite(&format!("INVITE <sip:user@192.168.7.1> SIP/2.0\n{}", base("INVITE", "z9hG4bKlt"))),
            Code(400),
        ),
        (
            "3.1.2.8",
            "lwsruri",
            invite(&format!("INVITE sip:user@192.168.7.1; lr SIP/2.0\n{}", base("INVITE", "z9hG4bKlw"))),
            Code(400),
        ),
        (
            "3.1.2.9",
            "lwsstart",
            invite(&format!("INVITE  sip:user@192.168.7.1  SIP/2.0\n{}", base("INVITE", "z9hG4bKls"))),
            Code(400),
        ),
        (
            "3.1.2.10",
            "trws",
            plain(&format!("OPTIONS sip:user@192.168.7.1 SIP/2.0  \n{}", base("OPTIONS", "z9hG4bKtr"))),
            Code(400),
        ),
        (
            "3.1.2.11",
            "escruri",
            invite(&format!(
                "INVITE sip:user@192.168.7.1?Route=%3Csip:example.com%3E SIP/2.0\n{}",
                base("INVITE", "z9hG4bKer")
            )),
            Code(400),
        ),
        (
            "3.1.2.12",
            "baddate",
            options(&format!("OPTIONS {sip}"), "Date: Fri, 01 Jan 2010 16:00:00 EST\n"),
            Code(200),
        ),
        (
            "3.1.2.13",
            "regbadct",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with("REGISTER", "Contact:", "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E")
            )),
            Code(400),
        ),
        (
            "3.1.2.14",
            "badaspec",
            plain(&format!(
                "OPTIONS {sip}\n{}",
                with("OPTIONS", "To:", "To: \"Watson, Thomas\" < sip:t.watson@example.org >")
            )),
            Code(400),
        ),
        (
            "3.1.2.15",
            "baddn",
            plain(&format!(
                "OPTIONS {sip}\n{}",
                with("OPTIONS", "From:", "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43")
            )),
            Code(400),
        ),
        (
            "3.1.2.16",
            "badvers",
            plain(&format!("OPTIONS sip:t.watson@192.168.7.1 SIP/7.0\n{}", base("OPTIONS", "z9hG4bKbv"))),
            Code(505),
        ),
        (
            "3.1.2.17",
            "mismatch01",
            plain(&format!("OPTIONS {sip}\n{}", base("INVITE", "z9hG4bKm1"))),
            Code(400),
        ),
        (
            "3.1.2.18",
            "mismatch02",
            plain(&format!("NEWMETHOD {sip}\n{}", base("INVITE", "z9hG4bKm2"))),
            Either(400, 501),
        ),
        (
            "3.1.2.19",
            "bigcode",
            plain(&format!(
                "SIP/2.0 4294967301 better not break the receiver\n{}",
                base("INVITE", "z9hG4bKbc")
            )),
            Silence,
        ),
        ("3.2.1", "badbranch", plain(&format!("OPTIONS {sip}\n{}", base("OPTIONS", "z9hG4bK"))), Code(200)),
        (
            "3.3.1",
            "insuf",
            plain(&format!(
                "INVITE {sip}\nVia: SIP/2.0/UDP 192.168.7.9;branch=z9hG4bKin\nCSeq: 193942 INVITE\nMax-Forwards: 95"
            )),
            Code(400),
        ),
        (
            "3.3.2",
            "unkscm",
            options("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", ""),
            Code(416),
        ),
        ("3.3.3", "novelsc", options("OPTIONS soap.beep://192.168.7.1:3002 SIP/2.0", ""), Code(416)),
        (
            "3.3.4",
            "unksm2",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with("REGISTER", "To:", "To: isbn:2983792873")
                    .replace("<sip:caller@example.com>", "<http://www.example.com>")
                    .replace("<sip:caller@192.168.7.9>", "<name:John_Smith>")
            )),
            Code(405),
        ),
        (
            "3.3.5",
            "bext01",
            options(
                &format!("OPTIONS {sip}"),
                "Require: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis\n",
            ),
            Code(420),
        ),
        (
            "3.3.6",
            "invut",
            plain(&format!(
                "INVITE {sip}\n{}Content-Type: application/unknownformat\nContent-Length: 8\n\n<audio/>",
                base("INVITE", "z9hG4bKiu")
            )),
            Code(415),
        ),
        (
            "3.3.7",
            "regaut01",
            plain(&format!(
                "REGISTER {sip}\n{}Authorization: NoOneKnowsThisScheme opaque-data=here\n",
                base("REGISTER", "z9hG4bKra")
            )),
            Code(405),
        ),
        (
            "3.3.8",
            "multi01",
            invite(&format!(
                "INVITE {sip}\n{}CSeq: 59 INVITE\nCall-ID: another@192.168.7.9\nFrom: <sip:other@example.com>;tag=94\n",
                base("INVITE", "z9hG4bKmu")
            )),
            Code(400),
        ),
        (
            "3.3.9",
            "mcl01",
            plain(&format!(
                "OPTIONS {sip}\n{}Content-Length: 13\nContent-Length: 5\n\nThere's no way to know",
                base("OPTIONS", "z9hG4bKmc")
            )),
            Code(400),
        ),
        (
            "3.3.10",
            "bcast",
            plain(&format!(
                "SIP/2.0 200 OK\n{}",
                with("INVITE", "Via:", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23")
            )),
            Silence,
        ),
        (
            "3.3.11",
            "zeromf",
            plain(&format!("OPTIONS {sip}\n{}", with("OPTIONS", "Max-Forwards:", "Max-Forwards: 0"))),
            Code(200),
        ),
        (
            "3.3.12",
            "cparam01",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with("REGISTER", "Contact:", "Contact: sip:+19725552222@gw1.example.net;unknownparam")
            )),
            Code(405),
        ),
        (
            "3.3.13",
            "cparam02",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with("REGISTER", "Contact:", "Contact: <sip:+19725552222@gw1.example.net;unknownparam>")
            )),
            Code(405),
        ),
        (
            "3.3.14",
            "regescrt",
            plain(&format!(
                "REGISTER {sip}\n{}",
                with(
                    "REGISTER",
                    "Contact:",
                    "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>"
                )
            )),
            Code(405),
        ),
        (
            "3.3.15",
            "sdp01",
            invite(&format!("INVITE {sip}\n{}Accept: text/nobodyKnowsThis\n", base("INVITE", "z9hG4bKsd"))),
            Code(406),
        ),
        (
            "3.4.1",
            "inv2543",
            invite(
                "INVITE sip:UserB@192.168.7.1 SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\nTo: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\n",
            ),
            Rings,
        ),
    ]
}
