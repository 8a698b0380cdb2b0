//! Executes the guide to the first call in `docs/operations.md` literally, except for the address and the API
//! port.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use branchline::sip::digest::{Authentication, Credentials};
use branchline::wire::challenge::Challenge;
use branchline::wire::{Message, Response, parse};

use crate::debian::{self, Debian, Service};
use crate::read;

/// Replaces the address of the guide, 192.168.1.10.
const HOME: &str = "127.0.0.10";

/// The numbered steps up to the first call, without indent.
fn steps() -> Vec<String> {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, rest) = guide.split_once("## From an SD card to the first call\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let mut steps: Vec<String> = Vec::new();
    for line in section.lines() {
        match line.split_once(". ") {
            Some((number, text)) if number.parse::<u32>().is_ok() => steps.push(format!("{text}\n")),
            _ => {
                if let Some(step) = steps.last_mut() {
                    *step += &format!("{}\n", line.strip_prefix("   ").unwrap_or(line));
                }
            }
        }
    }
    steps.iter().map(|s| s.replace("192.168.1.10", HOME)).collect()
}

/// The commands of a step: blocks indented by four, lines ending with a backslash joined.
fn commands(step: &str) -> Vec<String> {
    let lines = step.lines().filter_map(|l| l.strip_prefix("    ")).collect::<Vec<_>>().join("\n");
    lines.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// Applies the settings of a step to the file, where they are set or commented out.
fn edit(root: &Debian, step: &str, port: u16) {
    let (_, rest) = step.split_once("```toml\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let block = block.replace(":8080", &format!(":{port}"));
    let path = "/etc/branchline/branchline.toml";
    let mut lines: Vec<String> = read(root, path).lines().map(str::to_owned).collect();
    for section in block.trim().split("\n\n") {
        let (head, settings) = section.split_once('\n').unwrap();
        if head.starts_with("[[") {
            lines.extend(section.lines().map(str::to_owned));
            continue;
        }
        let begin = lines.iter().position(|l| l == head).unwrap_or_else(|| panic!("no {head} in the file"));
        for setting in settings.lines() {
            let key = setting.split(" = ").next().unwrap();
            let is_it = |l: &String| l.trim_start_matches('#').starts_with(&format!("{key} = "));
            let place = lines.iter().skip(begin).position(is_it);
            let place = place.unwrap_or_else(|| panic!("no {key} in the file")) + begin;
            setting.clone_into(&mut lines[place]);
        }
    }
    std::fs::write(root.path(path), lines.join("\n")).unwrap();
}

/// A phone of user `anna` on this machine.
struct Phone {
    socket: UdpSocket,
    auth: Authentication,
}

impl Phone {
    fn new(password: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let credentials = Credentials { username: "anna".to_owned(), password: password.to_owned() };
        Self { socket, auth: Authentication::new(credentials) }
    }

    fn send_register(&mut self, cseq: u32) -> Box<Response> {
        let (at, uri) = (self.socket.local_addr().unwrap(), format!("sip:{HOME}"));
        let proofs = self.auth.headers("REGISTER", &uri, "c0ffee");
        let proofs: String = proofs.into_iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let text = format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{cseq}\r\nFrom: <sip:anna@{HOME}>;tag=1\r\n\
             To: <sip:anna@{HOME}>\r\nCall-ID: phone\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n\
             Contact: <sip:anna@{at}>;expires=300\r\n{proofs}Content-Length: 0\r\n\r\n"
        );
        self.socket.send_to(text.as_bytes(), (HOME, 5060)).unwrap();
        match self.hear() {
            Message::Response(response) => response,
            Message::Request(request) => panic!("{request:?}"),
        }
    }

    fn hear(&self) -> Message {
        let mut buffer = [0u8; 4096];
        let n = self.socket.recv(&mut buffer).unwrap();
        parse(&buffer[..n]).unwrap()
    }

    fn register(&mut self) {
        let asked = self.send_register(1);
        assert!(asked.code == 401 && self.auth.challenged(Challenge::all(&asked.common.headers)));
        assert_eq!(self.send_register(2).code, 200);
    }
}

#[test]
fn the_operations_guide_leads_from_a_bare_system_to_the_first_call() {
    let steps = steps();
    assert_eq!(steps.len(), 6, "{steps:#?}");
    let root = Debian::new("guide");
    let package = debian::package();
    std::fs::copy(&package, root.path("/tmp").join(package.file_name().unwrap())).unwrap();

    // Install.
    let [install] = &commands(&steps[1])[..] else { panic!("{}", steps[1]) };
    root.run(&["sh", "-c", &format!("cd /tmp && DEBIAN_FRONTEND=noninteractive {install} --yes")]);

    // Settings and the password.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    edit(&root, &steps[2], port);
    let password = commands(&steps[2]);
    assert_eq!(password.len(), 3, "{password:?}");
    password.iter().for_each(|command| drop(root.run(&["sh", "-c", command])));

    // Check and start, without a service manager.
    let [check, restart] = &commands(&steps[3])[..] else { panic!("{}", steps[3]) };
    assert_eq!(restart, "systemctl restart branchline");
    assert_eq!(root.run(&["sh", "-c", check]).trim(), "the configuration is good");
    let token = read(&root, "/etc/branchline/api.token").trim().to_owned();
    let service = Service::start(&root, &token);

    // The phone registers.
    let mut phone = Phone::new(read(&root, "/etc/branchline/anna.password").trim());
    phone.register();
    let said = steps[4].split('`').find(|s| s.starts_with("phones")).unwrap();
    let status = root.run(&["branchline", "status"]);
    assert!(status.lines().any(|l| l == said), "{said}: {status}");

    // The call: the phone rings.
    let script = commands(&steps[5]).join("\n");
    let script =
        script.replace("/etc/", root.path("/etc/").to_str().unwrap()).replace(":8080", &format!(":{port}"));
    let out = Command::new("sh").args(["-e", "-c", &script.replace("curl ", "curl -sS ")]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    let leg: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let Message::Request(invite) = phone.hear() else { panic!("no call") };
    assert_eq!(invite.method.to_string(), "INVITE");
    let legs = service.gateway.get("/v1/legs").json();
    assert!(legs.to_string().contains(leg["id"].as_str().unwrap()), "{leg} {legs}");
}
