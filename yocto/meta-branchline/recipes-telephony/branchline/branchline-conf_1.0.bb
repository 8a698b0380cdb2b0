SUMMARY = "Configuration of the Branchline SIP gateway"
DESCRIPTION = "The settings of the gateway as a separate package, so that a product can replace them: append to \
               this recipe, or set BRANCHLINE_BOARD."
HOMEPAGE = "https://branchline.example"
BUGTRACKER = "https://branchline.example/issues"
SECTION = "net"
LICENSE = "MIT"
# nooelint: oelint.var.licenseremotefile - it contains only settings
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://branchline.toml"

S = "${UNPACKDIR}"

# The board profile depends on the machine.
PACKAGE_ARCH = "${MACHINE_ARCH}"

# A board profile; "auto" selects it by the model in the device tree.
BRANCHLINE_BOARD ?= "auto"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/branchline.toml ${D}${sysconfdir}/branchline/branchline.toml
    sed -i -e 's|@BOARD@|${BRANCHLINE_BOARD}|' ${D}${sysconfdir}/branchline/branchline.toml
}

CONFFILES:${PN} = "${sysconfdir}/branchline/branchline.toml"
