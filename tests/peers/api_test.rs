//! Schemathesis: valid and invalid requests generated from our `openapi.json`, against a running gateway.

use std::process::Command;

use crate::common::Gateway;
use crate::phone::{python, script};

#[test]
fn the_api_conforms_to_its_description() {
    let gw = Gateway::start_release_with(
        "[limits]\nlegs = 1024\nrooms = 1024\n[rtp]\nport_min = 0\nport_max = 0\n\
         [s3]\nbucket = \"branch\"\nendpoint = \"http://127.0.0.1:9\"\nwait_s = 0\n",
    );
    let url = format!("http://{}", gw.http());
    let tool = python().with_file_name("schemathesis");
    let out = Command::new(tool)
        .args([
            "--config-file",
            "tests/peers/schemathesis.toml",
            "run",
            "openapi.json",
            "--url",
            &url,
            "--max-examples",
            "100",
            "--seed",
            "20261122",
        ])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing", "--workers", "1", "--no-color"])
        .env("SCHEMATHESIS_HOOKS", "tests.peers.hooks")
        .env("PYTHONPATH", env!("CARGO_MANIFEST_DIR"))
        .current_dir(script(""))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    println!("{text}");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(gw.get("/health").status, 200);
}
