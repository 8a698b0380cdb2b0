//! A branch office for tests: a gateway whose events are read as lines, and phones with different voices.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{Gateway, Reply};
use crate::phone::{Lines, Phone, python, script};

pub struct Office {
    pub gateway: Gateway,
    pub events: Lines,
    dir: PathBuf,
}

impl Office {
    pub fn open(name: &str, env: &[(&str, &str)]) -> Self {
        Self::open_with(name, env, |_| String::new())
    }

    /// The same with a configuration that may refer to files in the office's directory.
    pub fn open_with(name: &str, env: &[(&str, &str)], text: impl FnOnce(&Path) -> String) -> Self {
        let dir = std::env::temp_dir().join(format!("branchline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let events =
            Lines::start(Command::new(python()).arg(script("scripts/events.py")).arg(port.to_string()));
        let hook = format!("http://127.0.0.1:{port}/");
        let mut all = vec![("WEBHOOK_URL", hook.as_str())];
        all.extend(env);
        let text = text(&dir);
        Self { gateway: Gateway::start_release_configured(&text, &all), events, dir }
    }

    /// A phone at this port, with a unique voice.
    pub fn phone(&self, port: u16) -> Phone {
        self.phone_with(port, &[])
    }

    /// The same with parameters of its account.
    pub fn phone_with(&self, port: u16, parameters: &[&str]) -> Phone {
        Phone::with_voice(&self.dir, port, parameters)
    }

    /// A phone of this user.
    pub fn phone_of(&self, port: u16, user: &str, parameters: &[&str]) -> Phone {
        Phone::of_user(&self.dir, port, user, parameters)
    }

    /// Originates a call and returns its leg.
    pub fn originate(&self, body: &str) -> String {
        let reply = self.gateway.post("/v1/legs", body);
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Answers the ringing call; returns its leg.
    pub fn answered(&self) -> String {
        let leg = self.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
        done(self.gateway.post(&format!("/v1/legs/{leg}/answer"), ""), "answering");
        leg
    }

    /// The directory of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The address of the gateway.
    pub fn sip(&self) -> String {
        self.gateway.listen["sip"].as_str().unwrap().to_owned()
    }

    pub fn event(&self, kind: &str) -> Value {
        self.events.json("type", kind, 20)
    }

    /// The next event of this kind about this leg.
    pub fn event_of(&self, kind: &str, leg: &str) -> Value {
        self.events.wait(kind, 20, |line| {
            let e: Value = serde_json::from_str(line).ok()?;
            (e["type"] == kind && e["leg_id"] == leg).then_some(e)
        })
    }

    /// Lets a phone call the gateway and answers into a room; returns its leg.
    pub fn call_in(&self, phone: &mut Phone, room: &str) -> String {
        phone.say(&format!("dial sip:desk@{}", self.sip()));
        let leg = self.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
        let body = format!(r#"{{"leg_id":"{leg}"}}"#);
        done(self.gateway.post(&format!("/v1/rooms/{room}/legs"), &body), "added");
        phone.wait("established");
        leg
    }

    /// A phone that has called into the room, and its leg.
    pub fn caller_in_room(&self, port: u16, room: &str) -> (Phone, String) {
        let mut phone = self.phone(port);
        let leg = self.call_in(&mut phone, room);
        (phone, leg)
    }

    /// The disconnect reason of the next leg to end, which must be this one.
    pub fn ended(&self, leg: &str) -> String {
        let gone = self.event("leg.disconnected");
        assert_eq!(gone["leg_id"], leg, "{gone}");
        gone["cdr"]["reason"].as_str().unwrap().to_owned()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// A reply of 200 with this status.
pub fn done(reply: Reply, status: &str) -> Value {
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some(status)), "{reply:?}");
    reply.json()
}
