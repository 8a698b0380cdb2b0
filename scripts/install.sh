#!/bin/sh
# Installs the required Debian packages, Rust excepted: `install.sh run` for building and running the gateway,
# `install.sh test` also for the tests, `install.sh bench` for the figures, `install.sh cross` for ARM builds and their emulation.
# Does nothing if nothing is missing. Without root it lists the packages to install.
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev make cmake curl"
programs="cc make cmake curl"
if [ "${1:-run}" = test ]; then
    packages="$packages sip-tester linphone-cli python3 python3-venv python3-dev python3-seccomp systemd mmdebstrap lintian openssl dnsmasq-base kamailio rtpengine-daemon iproute2 iptables sipvicious ffmpeg sox espeak-ng multimon-ng asterisk-core-sounds-en-wav asterisk-core-sounds-es-wav asterisk-core-sounds-fr-wav asterisk-core-sounds-it-wav asterisk-core-sounds-ru-wav asterisk-moh-opsound-wav"
    programs="$programs sipp linphonec python3 python3-config systemd-analyze mmdebstrap lintian openssl dnsmasq kamailio rtpengine ip iptables svmap ffmpeg sox espeak-ng multimon-ng"
fi
if [ "${1:-run}" = bench ]; then
    packages="$packages strace"
    programs="$programs strace"
fi
if [ "${1:-run}" = cross ]; then
    packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user-static"
    programs="$programs aarch64-linux-gnu-gcc arm-linux-gnueabihf-gcc qemu-aarch64-static qemu-arm-static"
fi

missing=no
if [ "${1:-run}" = test ]; then
    # Recordings of people and music, which have no program to check for.
    for sounds in sounds/en_US_f_Allison sounds/es_MX_f_Allison sounds/fr_CA_f_June sounds/it_IT_m_Carlo sounds/ru_RU_f_IvrvoiceRU moh; do
        [ -d "/usr/share/asterisk/$sounds" ] || { missing=yes; echo "missing: $sounds"; }
    done
fi
if [ "${1:-run}" = test ]; then
    /usr/bin/python3 -c 'import seccomp' 2>/dev/null || { missing=yes; echo "missing: python3-seccomp"; }
fi
for program in $programs; do
    command -v "$program" >/dev/null 2>&1 || { missing=yes; echo "missing: $program"; }
done

if [ "$missing" = yes ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "Install these packages, then run the command again:" >&2
        echo "    sudo apt-get install $packages" >&2
        exit 1
    fi
    echo "installing: $packages"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

if ! command -v "${CARGO:-cargo}" >/dev/null 2>&1; then
    echo "cargo is not installed: see https://rustup.rs" >&2
    exit 1
fi

# Test peers in a virtual environment: a phone and an API tester.
wanted=tests/peers/requirements.txt
if [ "${1:-run}" = test ] && ! cmp -s "$wanted" .venv/installed.txt; then
    echo "installing the peers of the tests into .venv"
    python3 -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" .venv/installed.txt
fi
