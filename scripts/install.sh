#!/bin/sh
# Installs what a fresh Debian with Rust lacks: `install.sh run` for building and running the gateway,
# `install.sh test` for the tests as well, `install.sh bench` for the figures. Does nothing where nothing is missing. Without root it names
# exactly the packages to install.
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev make curl"
programs="cc make curl"
if [ "${1:-run}" = test ]; then
    packages="$packages sip-tester python3 python3-venv"
    programs="$programs sipp python3"
fi
if [ "${1:-run}" = bench ]; then
    packages="$packages strace"
    programs="$programs strace"
fi

missing=no
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

# The peers of the tests: a phone and an API tester, in an environment of their own.
wanted=tests/peers/requirements.txt
if [ "${1:-run}" = test ] && ! cmp -s "$wanted" .venv/installed.txt; then
    echo "installing the peers of the tests into .venv"
    python3 -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" .venv/installed.txt
fi
