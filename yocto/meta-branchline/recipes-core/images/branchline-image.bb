SUMMARY = "An image with the Branchline SIP gateway"
DESCRIPTION = "A console image that runs the gateway, with an SSH server."
HOMEPAGE = "https://branchline.example"
BUGTRACKER = "https://branchline.example/issues"
SECTION = "net"
LICENSE = "MIT"

IMAGE_FEATURES += "ssh-server-openssh"

IMAGE_INSTALL = "\
    packagegroup-core-boot \
    branchline \
    branchline-conf \
    ca-certificates \
    ${CORE_IMAGE_EXTRA_INSTALL} \
"

inherit core-image
