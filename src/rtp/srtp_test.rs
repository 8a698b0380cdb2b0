//! Test vectors of RFC 3711 appendix B, RFC 7714 §16 and libsrtp; round trips, damage and replays.

use super::*;
use crate::base::rng::Rng;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap()).collect()
}

fn master(suite: Suite) -> MasterKey {
    let bytes = hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
    MasterKey::new(suite, &bytes).unwrap()
}

#[test]
fn session_keys_are_those_of_rfc_3711_b_3() {
    let m = master(Suite::AesCm80);
    let (mut key, mut salt, mut auth) = ([0; 16], [0; 14], [0; 20]);
    derive(&m, 0, &mut key).unwrap();
    derive(&m, 2, &mut salt).unwrap();
    derive(&m, 1, &mut auth).unwrap();
    assert_eq!(key.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(salt.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(auth.to_vec(), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

#[test]
fn packets_are_those_of_libsrtp() {
    let mut buffer = [0; 128];
    let plain = hex("800f1234decafbadcafebabeabababababababababababababababab");
    buffer[..plain.len()].copy_from_slice(&plain);
    let n = Context::new(&master(Suite::AesCm80)).unwrap().protect(&mut buffer, plain.len()).unwrap();
    let want = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb";
    assert_eq!(buffer[..n].to_vec(), hex(want));
    let mut far = Context::new(&master(Suite::AesCm80)).unwrap();
    assert_eq!(far.unprotect(&mut buffer, n), Ok(plain.len()));
    assert_eq!(buffer[..plain.len()].to_vec(), plain);

    let plain = hex("81c8000bcafebabeabababababababababababababababab");
    buffer[..plain.len()].copy_from_slice(&plain);
    let n = Context::new(&master(Suite::AesCm80)).unwrap().protect_rtcp(&mut buffer, plain.len()).unwrap();
    let want = "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798";
    assert_eq!(buffer[..n].to_vec(), hex(want));
}

#[test]
fn gcm_packets_are_those_of_rfc_7714() {
    let salt: [u8; 12] = hex("517569642070726f2071756f").try_into().unwrap();
    let cipher = Aes128Gcm::new_from_slice(&hex("000102030405060708090a0b0c0d0e0f")).unwrap();
    let keys = Cipher::Gcm128 { cipher, salt };
    let plain = hex(
        "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573",
    );
    let mut buffer = [0; 128];
    buffer[..plain.len()].copy_from_slice(&plain);
    let n = keys.seal_rtp(&mut buffer, 12, plain.len(), 0x5501_a0b2, 0, 0xf17b).unwrap();
    let want = "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                899d7f27beb16a9152cf765ee4390cce";
    assert_eq!(buffer[..n].to_vec(), hex(want));
    assert_eq!(keys.open_rtp(&mut buffer, 12, n, 0x5501_a0b2, 0, 0xf17b), Ok(plain.len()));
    assert_eq!(buffer[..plain.len()].to_vec(), plain);
}

fn packet(sequence: u16, extension: bool) -> Vec<u8> {
    let mut p = vec![if extension { 0x90 } else { 0x80 }, 0];
    p.extend(sequence.to_be_bytes());
    p.extend([0, 0, 0, 9, 0, 0, 0, 7]);
    if extension {
        p.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
    }
    p.extend([sequence as u8; 40]);
    p
}

#[test]
fn every_suite_carries_packets_over_the_roll_over() {
    for suite in Suite::ALL {
        let key = MasterKey::random(suite, &mut Rng::from_number(3));
        let (mut a, mut b) = (Context::new(&key).unwrap(), Context::new(&key).unwrap());
        let mut kept = Vec::new();
        for n in 0..198u16 {
            let plain = packet(65_500u16.wrapping_add(n), n % 3 == 0);
            let mut buffer = [0; 128];
            buffer[..plain.len()].copy_from_slice(&plain);
            let len = a.protect(&mut buffer, plain.len()).unwrap();
            assert!(len > plain.len() && buffer[..plain.len()] != plain[..], "{suite:?}");
            kept.push((buffer, len));
            // Each third packet is late by one.
            if n % 3 == 1 {
                continue;
            }
            let first = if n % 3 == 2 { kept.len() - 2 } else { kept.len() - 1 };
            for (buffer, len) in kept[first..].iter().rev() {
                let mut copy = *buffer;
                let got = b.unprotect(&mut copy, *len).unwrap();
                assert_eq!(u32::from(copy[got - 1]), u32::from(copy[3]), "{suite:?}: payload of its packet");
            }
        }
        for (buffer, len) in &kept {
            let mut copy = *buffer;
            let again = b.unprotect(&mut copy, *len);
            assert!(
                matches!(again, Err(SrtpError::Replay | SrtpError::Authentication)),
                "{suite:?}: {again:?}"
            );
        }
    }
}

#[test]
fn damage_is_noticed_wherever_it_is_and_changes_nothing() {
    for suite in Suite::ALL {
        let key = MasterKey::random(suite, &mut Rng::from_number(4));
        let (mut a, mut b) = (Context::new(&key).unwrap(), Context::new(&key).unwrap());
        let plain = packet(10, false);
        let mut sealed = [0; 128];
        sealed[..plain.len()].copy_from_slice(&plain);
        let len = a.protect(&mut sealed, plain.len()).unwrap();
        for at in 0..len {
            let mut copy = sealed;
            copy[at] ^= 1;
            assert!(b.unprotect(&mut copy, len).is_err(), "{suite:?}: byte {at}");
        }
        for short in 0..len {
            assert!(b.unprotect(&mut sealed.clone(), short).is_err(), "{suite:?}: {short} bytes");
        }
        assert_eq!(b.unprotect(&mut sealed.clone(), len), Ok(plain.len()), "{suite:?}");
        let mut other = Context::new(&MasterKey::random(suite, &mut Rng::from_number(5))).unwrap();
        assert_eq!(other.unprotect(&mut sealed, len), Err(SrtpError::Authentication), "{suite:?}");
    }
}

#[test]
fn reports_are_protected_too() {
    for suite in Suite::ALL {
        let key = MasterKey::random(suite, &mut Rng::from_number(6));
        let (mut a, mut b) = (Context::new(&key).unwrap(), Context::new(&key).unwrap());
        let plain = hex("81c8000bcafebabe0102030405060708090a0b0c0d0e0f10");
        let mut sealed = [0; 128];
        sealed[..plain.len()].copy_from_slice(&plain);
        let len = a.protect_rtcp(&mut sealed, plain.len()).unwrap();
        for at in 0..len {
            let mut copy = sealed;
            copy[at] ^= 1;
            assert!(b.unprotect_rtcp(&mut copy, len).is_err(), "{suite:?}: byte {at}");
        }
        for short in 0..len {
            assert!(b.unprotect_rtcp(&mut sealed.clone(), short).is_err(), "{suite:?}: {short} bytes");
        }
        let mut copy = sealed;
        assert_eq!(b.unprotect_rtcp(&mut copy, len), Ok(plain.len()), "{suite:?}");
        assert_eq!(copy[..plain.len()].to_vec(), plain);
        assert_eq!(b.unprotect_rtcp(&mut sealed, len), Err(SrtpError::Replay), "{suite:?}");
    }
}

#[test]
fn a_new_key_continues_or_resets_the_roll_over() {
    for suite in Suite::ALL {
        for (next, anew, turns) in
            [(suite, false, 1), (suite, true, 1), (Suite::Gcm256, false, 3), (Suite::AesCm32, true, 2)]
        {
            let key = |suite, seed| MasterKey::random(suite, &mut Rng::from_number(seed));
            let (first, second) = (key(suite, 7), key(next, 8));
            let (mut a, mut b) = (Context::new(&first).unwrap(), Context::new(&first).unwrap());
            let mut numbers = (0..).map(|n: u32| (n * 20_000) as u16);
            let carry = |a: &mut Context, b: &mut Context, number: u16| {
                let plain = packet(number, false);
                let mut buffer = [0; 128];
                buffer[..plain.len()].copy_from_slice(&plain);
                let len = a.protect(&mut buffer, plain.len()).unwrap();
                let (mut damaged, mut copy) = (buffer, buffer);
                damaged[20] ^= 1;
                let damaged = b.unprotect(&mut damaged, len);
                let got = b.unprotect(&mut buffer, len).map(|n| buffer[..n] == plain[..]);
                (damaged, got, b.unprotect(&mut copy, len))
            };
            let all = (Err(SrtpError::Authentication), Ok(true), Err(SrtpError::Replay));
            for number in numbers.by_ref().take(turns * 4) {
                assert_eq!(carry(&mut a, &mut b, number), all, "{suite:?} {number}");
            }
            let mut a = if anew { Context::new(&second) } else { Context::succeeding(&second, &a) }.unwrap();
            let mut b = Context::succeeding(&second, &b).unwrap();
            for number in numbers.take(12) {
                assert_eq!(
                    carry(&mut a, &mut b, number),
                    all,
                    "{suite:?} to {next:?}, anew {anew}: {number}"
                );
            }
        }
    }
}
