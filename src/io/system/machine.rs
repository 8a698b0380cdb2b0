//! Model and memory of the machine.

use std::fs;
use std::path::Path;

/// Paths of the model in the device tree.
const MODEL: [&str; 2] = ["/proc/device-tree/model", "/sys/firmware/devicetree/base/model"];

/// Model according to the device tree; `None` on machines without one, such as most x86.
#[must_use]
pub fn model() -> Option<String> {
    MODEL.iter().find_map(|path| fs::read(path).ok()).map(|text| as_text(&text))
}

/// Device tree strings are null-terminated (Devicetree Specification §2.2.4).
fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').trim().to_owned()
}

/// Memory available to this process, bytes: that of the machine, or less if limited by control groups.
#[must_use]
pub fn memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits_of(&groups)
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
        .chain(machine)
        .min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb << 10)
}

/// Files with the memory limits of the control groups in `/proc/self/cgroup`, versions 1 and 2.
fn limits_of(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            c if c.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // The limits of parent groups apply, too.
        for group in Path::new(path).ancestors() {
            files.push(format!("{root}{}/{file}", group.display().to_string().trim_end_matches('/')));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_groups_of_the_process() {
        assert_eq!(
            limits_of("4:memory:/a/b\n3:cpu,cpuacct:/\n0::/system.slice/branchline.service\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/system.slice/branchline.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(limits_of("1:memory:/"), ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
        assert_eq!(total("MemTotal:  1000 kB\nMemFree: 1 kB\n"), Some(1_024_000));
        assert!(memory().unwrap() > 1 << 20);
    }

    #[test]
    fn a_model_ends_with_a_zero() {
        assert_eq!(as_text(b"Raspberry Pi 4 Model B Rev 1.4\0"), "Raspberry Pi 4 Model B Rev 1.4");
        assert_eq!(as_text(b"\xff\0"), "\u{fffd}");
    }
}
