//! A bare Debian in a directory, and the gateway's package in it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::common::Gateway;
use crate::notify::Manager;

/// Debian release used for the test.
const SUITE: &str = "bookworm";
/// A user id in the range of `DynamicUser=`.
const USER: &str = "61184";

fn target() -> PathBuf {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(ours, PathBuf::from)
}

/// The package for this machine, built by `make deb`.
pub fn package() -> PathBuf {
    let built = std::fs::read_dir(target().join("debian")).map(|d| {
        let version = concat!("branchline_", env!("CARGO_PKG_VERSION"), "-");
        d.map(|e| e.unwrap().path()).find(|p| {
            p.file_name().unwrap().to_str().unwrap().starts_with(version) && p.extension().unwrap() == "deb"
        })
    });
    built.ok().flatten().expect("no package: run `make deb`")
}

fn must(command: &mut Command) -> Output {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        out.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    out
}

/// The same package with a higher version.
pub fn newer(package: &Path) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("branchline-newer-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&dir));
    must(Command::new("dpkg-deb").arg("--raw-extract").args([package, &dir]));
    let control = dir.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    let raised = text.replace("\nVersion: ", "\nVersion: 9");
    assert_ne!(raised, text);
    std::fs::write(control, raised).unwrap();
    let out = dir.with_extension("deb");
    must(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).args([&dir, &out]));
    std::fs::remove_dir_all(dir).unwrap();
    out
}

/// Tar archive of the bare system; created once.
static BARE: LazyLock<PathBuf> = LazyLock::new(|| {
    let tar = target().join(format!("appliance/{SUITE}.tar"));
    if !tar.exists() {
        std::fs::create_dir_all(tar.parent().unwrap()).unwrap();
        let making = tar.with_extension("new.tar");
        let include = "--include=init-system-helpers,systemd-standalone-sysusers";
        must(Command::new("mmdebstrap").args(["--variant=minbase", include, SUITE]).arg(&making));
        std::fs::rename(making, &tar).unwrap();
    }
    tar
});

/// The bare system of a test.
pub struct Debian(PathBuf);

impl Debian {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("branchline-debian-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        must(Command::new("tar").arg("-C").arg(&dir).arg("-xf").arg(&*BARE));
        Self(dir)
    }

    /// Host path of a path in the system.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A command in the system, with its own `/proc`.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        let script = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
        command.args(["--mount", "/bin/sh", "-c", script]).arg(&self.0).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command
    }

    /// Runs a command in it; returns its output.
    pub fn run(&self, words: &[&str]) -> String {
        let out = must(&mut self.command(words));
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }

    /// Installs a package; its dependencies are present.
    pub fn install(&self, package: &Path) {
        let name = package.file_name().unwrap().to_str().unwrap();
        std::fs::copy(package, self.path("/tmp").join(name)).unwrap();
        self.run(&["dpkg", "--install", &format!("/tmp/{name}")]);
    }

    /// Mode, owner and group of a file.
    pub fn mode(&self, path: &str) -> String {
        self.run(&["stat", "--format=%a %U %G", path]).trim().to_owned()
    }

    /// A value of the installed unit.
    fn unit(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.path("/usr/lib/systemd/system/branchline.service")).unwrap();
        let value = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {key} in the unit")).to_owned()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        drop(Command::new("rm").arg("-rf").arg(&self.0).status());
    }
}

/// The service, started with the commands of its unit.
pub struct Service {
    pub gateway: Gateway,
    pub manager: Manager,
}

impl Service {
    /// Runs `ExecStartPre`, then `ExecStart`, with user, group, state directory and watchdog of the unit.
    pub fn start(root: &Debian, token: &str) -> Self {
        let manager = Manager::at(root.path("/run/notify"));
        std::fs::set_permissions(&manager.path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let state = root.path("/var/lib/branchline");
        std::fs::create_dir_all(&state).unwrap();
        must(Command::new("chown").arg("--recursive").arg(format!("{USER}:{USER}")).arg(&state));
        let group = root.run(&["getent", "group", "branchline-secrets"]);
        let group = group.split(':').nth(2).unwrap().to_owned();
        let who = [
            "setpriv",
            &format!("--reuid={USER}"),
            &format!("--regid={USER}"),
            &format!("--groups={group}"),
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        .map(str::to_owned);
        let command = |key: &str| {
            let line = root.unit(key);
            let words: Vec<&str> = who.iter().map(String::as_str).chain(line.split(' ')).collect();
            let mut command = root.command(&words);
            command.env("STATE_DIRECTORY", "/var/lib/branchline");
            command
        };
        must(&mut command("ExecStartPre"));
        let mut start = command("ExecStart");
        start.env("NOTIFY_SOCKET", "/run/notify").env("WATCHDOG_USEC", "400000");
        let beside = std::env::temp_dir().join(format!("branchline-service-{}", std::process::id()));
        let gateway = Gateway::start_command(start, &state, beside).with_token(token);
        manager.expect("READY=1");
        Self { gateway, manager }
    }
}
