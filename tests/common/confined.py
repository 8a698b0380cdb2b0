"""Starts a program under the restrictions of a systemd unit without systemd: confined.py UNIT DIRECTORY PROGRAM ...

A system call refused by the unit's filter kills the program (SIGSYS) instead of returning an error that it might ignore, so
that calls missing in the filter are not overlooked. DIRECTORY is writable. As root the rest of the file system is read-only,
and the program runs as another user without capabilities.
"""

import ctypes
import os
import resource
import socket
import subprocess
import sys

import seccomp
from seccomp import ALLOW, EQ, ERRNO, KILL_PROCESS, MASKED_EQ, Arg

# The user id range of DynamicUser=.
USER = 61184
PROT_WRITE_EXEC, PROT_EXEC = 6, 4
NAMESPACES = 0x7E020000 | 0x80
NO_NEW_PRIVS, CAPBSET_DROP = 38, 24
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
CLONE_NEWNS = 0x20000
RLIMIT_RTPRIO = 14
ENOSYS = 38

libc = ctypes.CDLL(None, use_errno=True)


def must(what, result):
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def settings(unit):
    """Key and value of each line."""
    with open(unit, encoding="utf-8") as lines:
        pairs = [line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return [(key, value) for key, value in pairs]


def sets():
    """The system call sets defined by systemd."""
    text = subprocess.run(["/usr/bin/systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    out, name = {}, None
    for line in text.splitlines():
        if line.startswith("@"):
            name = line.strip()
            out[name] = set()
        elif name and line.startswith(" ") and not line.strip().startswith("#"):
            out[name].add(line.strip())
        elif not line.strip():
            name = None
    return out


def expand(name, known):
    if not name.startswith("@"):
        return {name}
    return set().union(*(expand(n, known) for n in known[name]))


def allowed(unit):
    known, calls = sets(), set()
    for key, value in settings(unit):
        if key != "SystemCallFilter":
            continue
        names = set().union(*(expand(n, known) for n in value.lstrip("~").split()))
        calls = calls - names if value.startswith("~") else calls | names
    if not calls:
        sys.exit(f"{unit} has no filter of system calls")
    return calls


def filtered(unit):
    keys = dict(settings(unit))
    rules = seccomp.SyscallFilter(defaction=KILL_PROCESS)
    special = {"socket", "mmap", "mprotect", "pkey_mprotect", "clone", "clone3", "unshare", "setns", "personality"}
    for name in allowed(unit) - special:
        try:
            rules.add_rule(ALLOW, name)
        except (RuntimeError, ValueError, OSError):
            pass  # a call of another architecture
    for family in keys["RestrictAddressFamilies"].split():
        rules.add_rule(ALLOW, "socket", Arg(0, EQ, getattr(socket, family)))
    # MemoryDenyWriteExecute
    for bits in (0, 2, 4):
        rules.add_rule(ALLOW, "mmap", Arg(2, MASKED_EQ, PROT_WRITE_EXEC, bits))
    rules.add_rule(ALLOW, "mprotect", Arg(2, MASKED_EQ, PROT_EXEC, 0))
    # RestrictNamespaces; the C library falls back to clone, as under systemd.
    rules.add_rule(ALLOW, "clone", Arg(0, MASKED_EQ, NAMESPACES, 0))
    rules.add_rule(ERRNO(ENOSYS), "clone3")
    return rules


def main():
    unit, directory, program = sys.argv[1], sys.argv[2], sys.argv[3:]
    keys = dict(settings(unit))
    for key, limit in (("LimitRTPRIO", RLIMIT_RTPRIO), ("LimitNOFILE", resource.RLIMIT_NOFILE)):
        most = resource.getrlimit(limit)[1]
        wanted = int(keys[key])
        if most != resource.RLIM_INFINITY:
            # A container may allow less than systemd would.
            wanted = min(wanted, most)
        resource.setrlimit(limit, (wanted, wanted))
    os.umask(int(keys["UMask"], 8))
    rules = filtered(unit)
    # The other user may not have access to its path.
    opened = os.open(program[0], os.O_RDONLY)
    if os.getuid() == 0:
        must("unshare", libc.unshare(CLONE_NEWNS))
        must("private", libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        must("bind", libc.mount(directory.encode(), directory.encode(), None, MS_BIND, None))
        must("bind", libc.mount(b"/", b"/", None, MS_REMOUNT | MS_BIND | MS_RDONLY, None))
        os.chown(directory, USER, USER)
        os.chdir(directory)
        for capability in range(64):
            libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    must("no_new_privs", libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0))
    rules.load()
    os.execve(opened, program, os.environ)


main()
