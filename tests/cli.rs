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
    assert_eq!(run(&["--nonsense"], &[]).status.code(), Some(1));
    assert_eq!(run(&["--config", "/does/not/exist"], &[]).status.code(), Some(1));
}

#[test]
fn print_config_shows_what_is_in_force() {
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
