//! The command line: `--check`, `--print-config`, and refusing to start on bad values.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod common;

use std::process::{Command, Output};

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_branchline"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_reports_all_faults_and_exits_1() {
    let file = std::env::temp_dir().join(format!("branchline-cli-{}.toml", std::process::id()));
    std::fs::write(&file, "[http]\nlisten = \"nowhere\"\nlisen = \"127.0.0.1:1\"\n").unwrap();
    let path = file.to_str().unwrap();
    let out = run(&["--check", "--config", path], &[("LOG_LEVEL", "loud")]);
    assert_eq!(out.status.code(), Some(1));
    let errors = text(&out.stderr);
    assert!(errors.contains(&format!("{path}:2: http.listen")), "{errors}");
    assert!(
        errors.contains(&format!("{path}:3: unknown setting http.lisen; did you mean http.listen?")),
        "{errors}"
    );
    assert!(errors.contains("LOG_LEVEL: \"loud\" is not one of"), "{errors}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_bad_value_stops_the_start() {
    let out = run(&[], &[("HTTP_ADDR", "0.0.0.0:0")]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("nothing guards the API"));
    assert_eq!(
        run(&["--nonsense"], &[]).status.code(),
        Some(2),
        "wrong arguments are told from a bad configuration"
    );
    assert_eq!(run(&["--config", "/does/not/exist"], &[]).status.code(), Some(1));
}

#[test]
fn print_config_shows_the_effective_settings() {
    let out = run(
        &["--print-config"],
        &[("HTTP_ADDR", "127.0.0.1:99"), ("API_TOKEN", "hunter2"), ("LOG_LEVEL", "")],
    );
    let shown = text(&out.stdout);
    assert!(shown.contains("http.listen = \"127.0.0.1:99\"\n"), "{shown}");
    assert!(shown.contains("log.level = \"info\"\n"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(text(&run(&["--version"], &[]).stdout).starts_with("branchline 0."));
}

#[test]
fn a_damaged_outbox_is_left_for_the_gateway() {
    let dir = std::env::temp_dir().join(format!("branchline-cli-outbox-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let env = [("STATE_DIR", dir.to_str().unwrap())];
    let list = || run(&["outbox", "list"], &env);
    assert!(text(&list().stderr).contains("no gateway has run with this state directory"));
    let file = dir.join("outbox.db");
    let damaged = [b"no outbox".as_slice(), &[7; 4096]].concat();
    std::fs::write(&file, &damaged).unwrap();
    let out = list();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("the gateway puts it aside when it starts"), "{}", text(&out.stderr));
    assert_eq!(std::fs::read(&file).unwrap(), damaged);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn check_warns_about_trust_without_effect() {
    let file = std::env::temp_dir().join(format!("branchline-cli-{}-warning.toml", std::process::id()));
    let trunk =
        "[[sip.trunk]]\nid = \"pbx\"\ntype = \"ip_ip\"\npeer_uri = \"sip:10.0.0.7\"\ntrust_webhook = true\n";
    std::fs::write(&file, trunk).unwrap();
    let out = run(&["--check", "--config", file.to_str().unwrap()], &[]);
    std::fs::remove_file(file).unwrap();
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(
        said.contains("warning: sip.trunk pbx: trust_webhook is honoured for calls over TCP or TLS"),
        "{said}"
    );
    assert!(said.contains("the configuration is good"), "{said}");
}

/// Output of `--check` for an invalid configuration and environment.
fn complaint(config: &str, env: &[(&str, &str)], n: usize) -> String {
    let file = std::env::temp_dir().join(format!("branchline-cli-{}-secrets-{n}.toml", std::process::id()));
    std::fs::write(&file, config).unwrap();
    let out = run(&["--check", "--config", file.to_str().unwrap()], env);
    std::fs::remove_file(file).unwrap();
    assert_eq!(out.status.code(), Some(1), "{config}");
    format!("{}{}", text(&out.stdout), text(&out.stderr))
}

#[test]
fn no_error_shows_a_secret() {
    let trunk = "[[sip.trunk]]\nid = \"p\"\ntype = \"sip_register\"\nregistrar_uri = \"sip:x.example\"\naor = \"sip:1@x.example\"\n";
    let places = [
        ("[http]\n", "tokens", "http.tokens"),
        ("[webhook]\n", "secret", "webhook.secret"),
        ("[s3]\nsecret_key = \"k\"\n", "access_key", "s3.access_key"),
        ("[s3]\naccess_key = \"a\"\n", "secret_key", "s3.secret_key"),
        ("[[sip.user]]\nname = \"anna\"\n", "password", "sip.user"),
        ("[[sip.user]]\nname = \"anna\"\n", "ha1", "sip.user"),
        ("[[sip.user]]\nname = \"anna\"\n", "ha1_sha256", "sip.user"),
        (trunk, "password", "sip.trunk"),
    ];
    let wrong = [
        "7777123",
        "-7777123",
        "7777123.5",
        "7777123-01-01",
        "0x7777123",
        "[[\"SECRETtoken77\"]]",
        "[\"ok\", 7777123]",
        "{ a = \"SECRETtoken77\" }",
        "{ SECRETtoken77 = 1 }",
        "\"SECRETtoken77\\u0007\"",
        "[\"SECRETtoken77\\u0007\"]",
        "\"SECRETtoken77",
        "SECRETtoken77",
        "\"SECRETtoken77\" 7777123",
    ];
    for (section, key, says) in places {
        for (n, value) in wrong.iter().enumerate() {
            let out = complaint(&format!("{section}{key} = {value}\n"), &[], n);
            assert!(!out.contains("SECRETtoken77") && !out.contains("7777123"), "{key} = {value}: {out}");
            // Invalid TOML has no setting name.
            assert!(out.contains(says) || n >= 11 || value.starts_with("7777123-"), "{key} = {value}: {out}");
        }
    }
    let list = complaint("[http]\ntokens = \"SECRETtoken77\"\n", &[], 100);
    assert!(list.contains("http.tokens: expected a list") && !list.contains("SECRET"), "{list}");
    let short = complaint("[[sip.user]]\nname = \"anna\"\nha1 = \"SECRETtoken77\"\n", &[], 101);
    assert!(short.contains("ha1: 32 hexadecimal digits") && !short.contains("SECRET"), "{short}");
    for name in ["API_TOKEN", "WEBHOOK_SECRET"] {
        let out = complaint("", &[(name, "SECRETtoken77\u{7}")], 102);
        assert!(
            out.contains(name) && out.contains("control characters") && !out.contains("SECRETtoken77"),
            "{out}"
        );
    }
}

#[test]
fn status_shows_a_running_gateway() {
    let gw = common::Gateway::start(&[("API_TOKEN", "hunter2"), ("SIP_HOST", "tour")]);
    let dir = gw.dir().to_str().unwrap().to_owned();
    assert_eq!(gw.request("POST", "/v1/rooms", "Authorization: Bearer hunter2\r\n", b"{}").status, 201);
    // The port chosen by the system is read from the state directory.
    let env = [("STATE_DIR", dir.as_str()), ("API_TOKEN", "hunter2")];
    let shown = run(&["status"], &env);
    let text_of = text(&shown.stdout);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    assert!(text_of.starts_with(concat!("branchline ", env!("CARGO_PKG_VERSION"), "  ok  up ")), "{text_of}");
    assert!(text_of.contains("\nrooms     1\n") && text_of.contains("disk      "), "{text_of}");
    let json: serde_json::Value = serde_json::from_slice(&run(&["status", "--json"], &env).stdout).unwrap();
    assert_eq!((json["rooms"].as_u64(), json["state"].as_str()), (Some(1), Some("ok")));
    // With an explicit address and token no configuration is needed.
    let url = format!("http://{}/", gw.http());
    let file = gw.dir().join("token");
    std::fs::write(&file, "hunter2\n").unwrap();
    let out = run(&["status", "--url", &url, "--token-file", file.to_str().unwrap()], &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    // Errors are reported.
    let wrong = run(&["status"], &[("STATE_DIR", dir.as_str())]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("the API wants a token"), "{}", text(&wrong.stderr));
    drop(gw);
    let away = run(&["status", "--url", &url], &[]);
    assert!(text(&away.stderr).contains("no gateway answers at http://"), "{}", text(&away.stderr));
}
