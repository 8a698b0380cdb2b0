//! Startup messages: addresses, access rules, and capacity.

use std::net::SocketAddr;

use crate::base::counted::counted;
use crate::config::Config;
use crate::io::memory_bound::MemoryBound;
use crate::sip::locals::Locals;

/// The lines.
#[must_use]
pub fn lines(config: &Config, http: SocketAddr, sip: &Locals, memory: &MemoryBound) -> Vec<String> {
    vec![api(config, http), calls(config, sip), capacity(config), memory.line()]
}

fn api(config: &Config, at: SocketAddr) -> String {
    let h = &config.http;
    let who = match (h.tokens.len(), h.allowed_ips.as_slice()) {
        (0, []) if h.listen.ip().is_loopback() => "to this machine, without a token".to_owned(),
        (0, []) => "to everybody who reaches it, without a token (http.trust_lan)".to_owned(),
        (0, nets) => format!("to {}, without a token", list(nets)),
        (_, []) => "to who has a token".to_owned(),
        (_, nets) => format!("to who has a token, from {}", list(nets)),
    };
    format!("the API is at http://{at}/v1 and open {who}")
}

fn calls(config: &Config, locals: &Locals) -> String {
    let at: Vec<String> = [locals.v4, locals.v6].iter().flatten().map(ToString::to_string).collect();
    let tls = locals.tls_port.map_or(String::new(), |port| format!(", over TLS at port {port}"));
    let s = &config.sip;
    let nets = if s.accept_from.is_empty() { "nowhere".to_owned() } else { list(&s.accept_from) };
    format!(
        "SIP is at {} over UDP and TCP{tls}; calls are taken from {nets}, from {} in the configuration and from {} with a \
         password",
        at.join(" and "),
        counted(s.trunks.len() as u64, "trunk"),
        counted(s.users.len() as u64, "user"),
    )
}

fn capacity(config: &Config) -> String {
    let l = &config.limits;
    format!(
        "board {}: {}, {} of them with Opus, {} of {} members, {}, {}",
        config.board,
        counted(l.legs.into(), "leg"),
        l.opus_legs,
        counted(l.rooms.into(), "room"),
        l.room_members,
        counted(l.playbacks.into(), "playback"),
        counted(l.recordings.into(), "recording"),
    )
}

fn list<T: ToString>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use crate::io::media::media_plan::MediaPlan;

    #[test]
    fn it_says_what_is_open_to_whom() {
        let at: SocketAddr = "192.168.1.10:8080".parse().unwrap();
        let sip = Locals {
            v4: Some("192.168.1.10:5060".parse().unwrap()),
            tls_port: Some(5061),
            ..Locals::default()
        };
        let said = |text: &str| {
            let config = load(&Sources { file: Some(("f", text)), env: &[] }).unwrap();
            lines(&config, at, &sip, &MemoryBound::of(&config, &MediaPlan::default()))
        };
        let open = |text: &str| {
            let line = said(text).remove(0);
            line.strip_prefix("the API is at http://192.168.1.10:8080/v1 and open ").unwrap().to_owned()
        };
        assert_eq!(open(""), "to this machine, without a token");
        let lan = "[http]\nlisten = \":8080\"\n";
        assert_eq!(open(&format!("{lan}tokens = [\"hunter2\"]")), "to who has a token");
        assert_eq!(
            open(&format!("{lan}tokens = [\"hunter2\"]\nallowed_ips = [\"10.0.0.0/8\", \"192.0.2.1\"]")),
            "to who has a token, from 10.0.0.0/8, 192.0.2.1/32"
        );
        assert_eq!(open(&format!("{lan}allowed_ips = [\"10.0.0.0/8\"]")), "to 10.0.0.0/8, without a token");
        assert_eq!(
            open(&format!("{lan}trust_lan = true")),
            "to everybody who reaches it, without a token (http.trust_lan)"
        );
        let all = said(
            "[sip]\naccept_from = [\"10.0.0.0/8\"]\n[[sip.user]]\nname = \"anna\"\npassword = \"hunter2\"\n",
        );
        assert_eq!(
            all[1],
            "SIP is at 192.168.1.10:5060 over UDP and TCP, over TLS at port 5061; calls are taken from 10.0.0.0/8, from 0 \
             trunks in the configuration and from 1 user with a password"
        );
        assert_eq!(
            all[2],
            "board generic: 256 legs, 32 of them with Opus, 128 rooms of 64 members, 128 playbacks, 256 recordings"
        );
        assert!(all[3].starts_with("memory is bounded at "), "{}", all[3]);
    }
}
