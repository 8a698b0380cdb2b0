//! Datagrams dropped by the kernel because a receive buffer was full: Linux counts them per socket.

use std::fs;
use std::os::fd::AsFd;

/// Column numbers in the kernel's socket table, from 0.
const INODE: usize = 9;
const DROPS: usize = 12;

/// Inode of a socket, which identifies it in the kernel's tables; `None`: unknown.
#[must_use]
pub fn inode(socket: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|s| s.st_ino)
}

/// Datagrams dropped on these UDP sockets since they were bound; 0 if unknown.
#[must_use]
pub fn of_sockets(inodes: &[u64]) -> u64 {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    tables.iter().filter_map(|t| fs::read_to_string(t).ok()).map(|table| of_table(&table, inodes)).sum()
}

fn of_table(table: &str, inodes: &[u64]) -> u64 {
    let drops = |line: &str| {
        let number = |at| line.split_whitespace().nth(at)?.parse::<u64>().ok();
        number(INODE).filter(|inode| inodes.contains(inode))?;
        number(DROPS)
    };
    table.lines().filter_map(drops).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drops_of_our_sockets_are_counted() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  118: 00000000:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 30
  119: 0100007F:13C5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 5
  120: 0100007F:13C6 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4713 2 0000000000000000 7
  a line that is cut 4711";
        assert_eq!(of_table(table, &[4711, 4713]), 37);
        assert_eq!(of_table(table, &[]), 0);
    }
}
