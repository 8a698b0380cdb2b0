#!/usr/bin/env python3
"""Generates the crate list of the Yocto recipe from Cargo.lock, in the format of `bitbake -c update_crates`."""

import pathlib
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "yocto/meta-branchline/recipes-telephony/branchline/branchline-crates.inc"

lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
crates = [c for c in lock["package"] if "crates.io" in c.get("source", "")]
out = ["# Made from Cargo.lock by scripts/yocto-crates.py", "", 'SRC_URI += "\\']
out += [f"    crate://crates.io/{c['name']}/{c['version']};name={c['name']}-{c['version']} \\" for c in crates]
out += ['"', ""]
out += [f'SRC_URI[{c["name"]}-{c["version"]}.sha256sum] = "{c["checksum"]}"' for c in crates]
LIST.write_text("\n".join(out) + "\n")
