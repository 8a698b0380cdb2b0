//! recvmmsg with kernel receive timestamps, and socket options not available in std: the unsafe leaf of the
//! media sockets.
#![expect(
    unsafe_code,
    reason = "recvmmsg, SO_TIMESTAMPNS and scheduling have no safe wrapper without allocation"
)]

use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr;

use crate::media::rtp_endpoint::transport::{BATCH, Batch};

/// Buffer for one control message with a timespec.
const CONTROL: usize = 64;
/// 64-bit receive timestamps on all machines: those of `SO_TIMESTAMPNS` end in 2038 if `time_t` has 32 bits.
/// Its control messages have the same number.
const SO_TIMESTAMPNS_NEW: libc::c_int = 64;

/// `struct __kernel_timespec` of the kernel.
#[repr(C)]
struct KernelTime {
    seconds: i64,
    nanoseconds: i64,
}

/// Reads datagrams from a non-blocking socket, at most [`BATCH`]. `now_ns` is used if the kernel provides no
/// receive time.
pub fn receive(socket: &UdpSocket, batch: &mut Batch, now_ns: u64) {
    batch.len = 0;
    let mut names: [MaybeUninit<libc::sockaddr_storage>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut controls = [[0u64; CONTROL / 8]; BATCH];
    // SAFETY: all-zero is a valid value of these plain C structures.
    let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    let rows =
        messages.iter_mut().zip(&mut parts).zip(&mut names).zip(&mut controls).zip(batch.items.iter_mut());
    let mut count = 0u32;
    for ((((m, part), name), control), item) in rows {
        part.iov_base = item.bytes.as_mut_ptr().cast();
        part.iov_len = item.bytes.len();
        m.msg_hdr.msg_name = name.as_mut_ptr().cast();
        m.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        m.msg_hdr.msg_iov = part;
        m.msg_hdr.msg_iovlen = 1;
        m.msg_hdr.msg_control = control.as_mut_ptr().cast();
        m.msg_hdr.msg_controllen = CONTROL as _;
        count += 1;
    }
    // SAFETY: every pointer in `messages` refers to memory of the given length that outlives the call.
    let got = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let Ok(got) = usize::try_from(got) else { return };
    for (m, item) in messages.iter().zip(batch.items.iter_mut()).take(got) {
        item.len = m.msg_len as usize;
        // SAFETY: the kernel has filled in name and control of the first `got` messages.
        let (from, arrival) = unsafe { (address(&m.msg_hdr), arrival(&m.msg_hdr)) };
        item.arrival_ns = arrival.unwrap_or(now_ns);
        match from {
            Some(from) => item.from = from,
            None => item.len = 0,
        }
    }
    batch.len = got;
}

/// The sender of a received message.
///
/// # Safety
/// `hdr.msg_name` must point to an address written by the kernel.
unsafe fn address(hdr: &libc::msghdr) -> Option<SocketAddr> {
    // SAFETY: the name contains at least a family; each family is read as its own structure.
    unsafe {
        let family = i32::from((*hdr.msg_name.cast::<libc::sockaddr>()).sa_family);
        match family {
            libc::AF_INET => {
                let a = &*hdr.msg_name.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr));
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(a.sin_port)))
            }
            libc::AF_INET6 => {
                let a = &*hdr.msg_name.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
                Some(SocketAddr::new(IpAddr::V6(ip).to_canonical(), u16::from_be(a.sin6_port)))
            }
            _ => None,
        }
    }
}

/// Receive time of a message in the kernel, nanoseconds since the Unix epoch.
///
/// # Safety
/// `hdr` must be a message header whose control part was written by the kernel.
unsafe fn arrival(hdr: &libc::msghdr) -> Option<u64> {
    // SAFETY: the CMSG macros stay within the length given by the kernel.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(hdr);
        while let Some(c) = at.as_ref() {
            if c.cmsg_level == libc::SOL_SOCKET && c.cmsg_type == SO_TIMESTAMPNS_NEW {
                let t: KernelTime = ptr::read_unaligned(libc::CMSG_DATA(at).cast());
                return Some(t.seconds as u64 * 1_000_000_000 + t.nanoseconds as u64);
            }
            at = libc::CMSG_NXTHDR(hdr, at);
        }
    }
    None
}

/// Enables receive timestamps, and marks sent packets as expedited forwarding (RFC 4594 §4.1, DSCP 46).
pub fn prepare(socket: &UdpSocket) {
    const EXPEDITED: libc::c_int = 46 << 2;
    let set = |level: libc::c_int, name: libc::c_int, value: libc::c_int| {
        // SAFETY: the option value is an int that outlives the call.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
                ptr::from_ref(&value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if done != 0 {
            log::debug!(level = level, option = name; "socket option refused");
        }
    };
    set(libc::SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1);
    match socket.local_addr() {
        Ok(SocketAddr::V6(_)) => set(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, EXPEDITED),
        Ok(SocketAddr::V4(_)) | Err(_) => set(libc::IPPROTO_IP, libc::IP_TOS, EXPEDITED),
    }
}

/// Gives the calling thread real-time scheduling; false if not permitted.
#[must_use]
pub fn real_time(priority: i32) -> bool {
    // SAFETY: all-zero is valid, and the structure outlives the call.
    unsafe {
        let mut param: libc::sched_param = zeroed();
        param.sched_priority = priority;
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) == 0
    }
}
