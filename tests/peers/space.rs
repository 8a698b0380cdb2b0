//! Network namespaces. Loopback is trusted and has no NAT, so that unknown sources and phones behind NAT need
//! a separate network.

use std::path::Path;
use std::process::{Command, Stdio};

fn quietly(program: &str, arguments: &str) -> bool {
    let ran = Command::new(program).args(arguments.split(' ')).stderr(Stdio::null()).status();
    ran.unwrap_or_else(|e| panic!("{program} is installed by `make test`: {e}")).success()
}

/// `ip` with these arguments.
///
/// # Panics
/// It fails.
pub fn ip(arguments: &str) {
    assert!(quietly("ip", arguments), "ip {arguments}: this test makes network namespaces, which takes root");
}

/// A network namespace, gone when this is dropped.
pub struct Space {
    name: &'static str,
    /// Interfaces of the host that lead here.
    plugs: Vec<String>,
}

impl Space {
    /// An empty network.
    pub fn make(name: &'static str) -> Self {
        quietly("ip", &format!("netns del {name}"));
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        Self { name, plugs: Vec::new() }
    }

    /// A veth pair between two networks (`None`: the host): interface name and address of each end.
    pub fn cable(a: Option<&Self>, (plug, at): (&str, &str), b: &mut Self, (other, there): (&str, &str)) {
        if a.is_none() {
            b.plugs.push(plug.to_owned());
        }
        ip(&format!("link add {plug} type veth peer name {other}"));
        for (space, plug, address) in [(a, plug, at), (Some(&*b), other, there)] {
            let mut inside = String::new();
            if let Some(space) = space {
                ip(&format!("link set {plug} netns {}", space.name));
                inside = format!("-n {} ", space.name);
            }
            ip(&format!("{inside}addr add {address} dev {plug}"));
            ip(&format!("{inside}link set {plug} up"));
        }
    }

    /// Sets the default route.
    pub fn default_route(&self, router: &str) {
        ip(&format!("-n {} route add default via {router}", self.name));
    }

    /// A program that runs in this network.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name]).arg(program.as_ref());
        command
    }

    /// Turns this network into a router with these iptables rules in table `nat`.
    pub fn becomes_router(&self, rules: &[&str]) {
        let on = self.command("sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"]).status().unwrap();
        assert!(on.success(), "a namespace that forwards");
        for rule in rules {
            let done = self.command("iptables").args(["-t", "nat"]).args(rule.split(' ')).status().unwrap();
            assert!(done.success(), "iptables -t nat {rule}");
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // The kernel deletes the namespace later; the host's interfaces and routes are deleted now.
        for plug in &self.plugs {
            quietly("ip", &format!("link del {plug}"));
        }
        quietly("ip", &format!("netns del {}", self.name));
    }
}
