SUMMARY = "SIP gateway appliance: calls, rooms and recordings over REST"
DESCRIPTION = "One lean process for a branch office: it answers and places SIP calls, mixes them in rooms, records them, \
               and is driven over REST on the LAN."
HOMEPAGE = "https://branchline.example"
BUGTRACKER = "https://branchline.example/issues"
SECTION = "net"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=fc6e3e7dd4f8de914147a34cb3d4210c"

CVE_PRODUCT = "branchline"

# libopus is built from the source in its crate.
DEPENDS = "cmake-native"

require branchline-crates.inc

# Releases with an older Rust use the class of meta-rust-bin.
BRANCHLINE_CARGO ?= "cargo"

inherit externalsrc pkgconfig systemd useradd
inherit_defer ${BRANCHLINE_CARGO}

# The layer is in the source tree of the gateway, and builds that tree.
EXTERNALSRC = "${@os.path.normpath(os.path.join(d.getVar('THISDIR'), '..', '..', '..', '..'))}"
# nooelint: oelint.vars.mispell.unknown - of externalsrc.bbclass
EXTERNALSRC_SYMLINKS = ""

PACKAGECONFIG ??= "sound"
PACKAGECONFIG[sound] = ""

SYSTEMD_SERVICE:${PN} = "branchline.service"

# The group that may read passwords, tokens and keys: sysusers.d would create it at the first start, when the root may be read-only.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system branchline-secrets"

do_install:append() {
    install -D -m 0644 ${S}/systemd/branchline.service ${D}${systemd_system_unitdir}/branchline.service
    if ${@bb.utils.contains('PACKAGECONFIG', 'sound', 'false', 'true', d)}; then
        install -D -m 0644 ${S}/systemd/without-sound.conf \
            ${D}${systemd_system_unitdir}/branchline.service.d/without-sound.conf
    fi
    install -d ${D}${mandir}/man1
    install -m 0644 ${S}/docs/man/*.1 ${D}${mandir}/man1/
}

FILES:${PN} += "${systemd_system_unitdir}"

RDEPENDS:${PN} += "branchline-conf"
RRECOMMENDS:${PN} += "ca-certificates"
