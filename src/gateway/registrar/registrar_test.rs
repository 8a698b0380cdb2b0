//! Registration of phones: authentication and ordering.

use std::time::Duration;

use super::{MAX_CONTACTS, Registrar};
use crate::base::pool::Standing;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::User;
use crate::gateway::context::Context;
use crate::gateway::testing::{context, events, now};
use crate::sip::digest::{Authentication, Credentials};
use crate::sip::flow::{Flow, Transport};
use crate::sip::transactions::{Admission, Event};
use crate::wire::challenge::Challenge;
use crate::wire::{Message, Response, Uri, parse};

/// A registrar with users 100 and 101, and a phone.
struct Phone {
    ctx: Context,
    registrar: Registrar,
    now: Now,
    auth: Authentication,
    cseq: u32,
    branch: u32,
}

fn at(addr: &str) -> Flow {
    Flow { transport: Transport::Udp, addr: addr.parse().unwrap(), conn: None }
}

impl Phone {
    fn new(password: &str) -> Self {
        let user = |name: &str, password: &str| User {
            name: name.to_owned(),
            password: password.into(),
            ..User::default()
        };
        let ctx = context(|c| {
            c.sip.users = vec![user("100", "right"), user("101", "other")];
            c.sip.domains = vec!["branch.example".to_owned()];
        });
        let registrar = Registrar::new(&ctx.config, &mut Rng::from_number(2));
        let credentials = Credentials { username: "100".to_owned(), password: password.to_owned() };
        let auth = Authentication::new(credentials);
        Self { ctx, registrar, now: now(), auth, cseq: 0, branch: 0 }
    }

    /// Sends one REGISTER for `user` from port 5060 of 192.0.2.9.
    fn send(&mut self, user: &str, headers: &str) -> Response {
        self.branch += 1;
        let uri = "sip:branch.example";
        let fields = self.auth.headers("REGISTER", uri, "cnonce");
        let proofs: String = fields.into_iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let (branch, cseq) = (self.branch, self.cseq);
        let text = format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{branch}\r\nFrom: <sip:{user}@branch.example>;tag={branch}\r\n\
             To: <sip:{user}@branch.example>\r\nCall-ID: phone\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n{headers}{proofs}\
             Content-Length: 0\r\n\r\n"
        );
        let Ok(Message::Request(mut request)) = parse(text.as_bytes()) else { panic!("{text}") };
        let source = at("192.0.2.9:5060");
        request.stamp(source.addr);
        self.ctx.sip.handle_request(self.now.mono, request, source, Admission::Kept(Standing::Stranger));
        while let Some(event) = self.ctx.sip.poll_event() {
            if let Event::Request(tx, request, source) = event {
                self.registrar.handle_register(&mut self.ctx, self.now, tx, &request, source);
            }
        }
        let out = self.ctx.sip.poll_transmit().expect("a response");
        let Ok(Message::Response(response)) = parse(&out.bytes) else { panic!("{out:?}") };
        *response
    }

    /// Registers, answering a challenge; returns the final status code.
    fn register(&mut self, user: &str, headers: &str) -> u16 {
        self.cseq += 1;
        let response = self.send(user, headers);
        if response.code != 401 || !self.auth.challenged(Challenge::all(&response.common.headers)) {
            return response.code;
        }
        self.cseq += 1;
        let response = self.send(user, headers);
        self.auth.passed();
        response.code
    }

    /// The contacts of user 100, latest registration first.
    fn contacts(&self) -> Vec<String> {
        let aor = Uri::parse("sip:100@branch.example").unwrap();
        let routes = self.registrar.bindings_of(&self.ctx, &aor).expect("a user of ours");
        routes.into_iter().map(|r| r.contact.to_string()).collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.registrar.handle_timeout(&mut self.ctx, self.now);
    }
}

fn contact(port: u16, expires: u32) -> String {
    format!("Contact: <sip:100@192.0.2.9:{port}>;expires={expires}\r\n")
}

#[test]
fn a_phone_registers_by_its_password_until_its_time_is_over() {
    let mut phone = Phone::new("right");
    assert_eq!(phone.send("100", &contact(5060, 60)).code, 401, "who has not proved to be 100 is asked");
    assert_eq!((phone.register("100", &contact(5060, 60)), phone.contacts().len()), (200, 1));
    assert_eq!(events(&mut phone.ctx), ["sip.registration_active"]);
    phone.wait(59);
    assert_eq!(phone.contacts(), ["sip:100@192.0.2.9:5060"]);
    phone.wait(1);
    assert_eq!((phone.contacts().len(), phone.registrar.contacts()), (0, 0));
    assert_eq!(events(&mut phone.ctx), ["sip.registration_expired"]);
}

#[test]
fn a_wrong_password_and_the_name_of_another_get_403() {
    let mut phone = Phone::new("wrong");
    assert_eq!(
        (phone.register("100", &contact(5060, 60)), phone.ctx.counters.signalling.wrong_passwords),
        (403, 1)
    );
    let mut phone = Phone::new("right");
    assert_eq!((phone.register("101", &contact(5060, 60)), phone.registrar.contacts()), (403, 0));
    assert!(events(&mut phone.ctx).is_empty());
}

#[test]
fn wrong_passwords_are_looked_at_so_often_and_no_more() {
    let mut phone = Phone::new("wrong");
    let codes: Vec<u16> = (0..12).map(|_| phone.register("100", &contact(5060, 60))).collect();
    assert!(codes[..10].iter().all(|c| *c == 403) && codes[10..].iter().all(|c| *c == 500), "{codes:?}");
    assert_eq!(phone.ctx.counters.signalling.guesses_refused, 2);
}

#[test]
fn a_sixth_contact_takes_the_place_of_the_oldest() {
    let mut phone = Phone::new("right");
    for port in 1..=6 {
        phone.wait(1);
        assert_eq!(phone.register("100", &contact(port, 3600)), 200);
    }
    let kept = phone.contacts();
    assert_eq!((kept.len(), kept.first().map(String::as_str)), (MAX_CONTACTS, Some("sip:100@192.0.2.9:6")));
    assert!(!kept.contains(&"sip:100@192.0.2.9:1".to_owned()), "{kept:?}");
}

#[test]
fn a_request_that_was_overtaken_changes_nothing() {
    let mut phone = Phone::new("right");
    assert_eq!(phone.register("100", &contact(5060, 3600)), 200);
    phone.cseq = 0;
    assert_eq!(phone.send("100", &contact(5060, 0)).code, 500, "RFC 3261 §10.3 step 7");
    assert_eq!(phone.send("100", "").code, 200, "a mere question is in order always");
    assert_eq!(
        phone.send("100", &contact(5062, 3600)).code,
        200,
        "a contact that is not bound was not overtaken"
    );
    assert_eq!(phone.contacts().len(), 2);
}

#[test]
fn contacts_are_forgotten_one_by_one_or_all_at_once() {
    let mut phone = Phone::new("right");
    for port in [5060, 5062, 5064] {
        assert_eq!(phone.register("100", &contact(port, 3600)), 200);
    }
    assert_eq!((phone.register("100", &contact(5062, 0)), phone.contacts().len()), (200, 2));
    assert_eq!(phone.register("100", "Contact: *\r\nExpires: 60\r\n"), 400);
    assert_eq!((phone.register("100", "Contact: *\r\nExpires: 0\r\n"), phone.contacts().len()), (200, 0));
}

#[test]
fn too_short_a_registration_is_refused_with_the_least() {
    let mut phone = Phone::new("right");
    phone.register("100", &contact(5060, 3600));
    phone.cseq += 1;
    let response = phone.send("100", &contact(5060, 59));
    assert_eq!((response.code, response.common.headers.get("Min-Expires")), (423, Some("60")));
}

#[test]
fn a_user_that_is_taken_out_of_the_settings_loses_its_phones() {
    let mut phone = Phone::new("right");
    phone.register("100", &contact(5060, 3600));
    let old = phone.ctx.config.clone();
    let mut config = (*old).clone();
    config.sip.users.retain(|u| u.name != "100");
    phone.ctx.config = config.into();
    events(&mut phone.ctx);
    phone.registrar.reload(
        &mut phone.ctx,
        phone.now,
        &old,
        &mut crate::gateway::interface::changed::Changed::default(),
    );
    assert_eq!(
        (phone.registrar.contacts(), events(&mut phone.ctx)),
        (0, vec!["sip.registration_expired".to_owned()])
    );
}
