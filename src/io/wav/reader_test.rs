//! WAV files as written by various tools, all with the same tone.

use std::io::Cursor;

use super::*;

/// One second of 440 Hz at half scale, at 8 kHz.
fn tone(i: usize) -> f64 {
    0.5 * (std::f64::consts::TAU * 440.0 * i as f64 / 8000.0).sin()
}

fn samples(write: impl Fn(f64) -> Vec<u8>) -> Vec<u8> {
    (0..8000).flat_map(|i| write(tone(i))).collect()
}

fn pcm16() -> Vec<u8> {
    samples(|v| ((v * 32_767.0) as i16).to_le_bytes().to_vec())
}

fn fmt(tag: u16, channels: u16, bits: u16) -> Vec<u8> {
    let align = channels * bits.div_ceil(8);
    let mut f = tag.to_le_bytes().to_vec();
    f.extend(channels.to_le_bytes());
    f.extend(8000u32.to_le_bytes());
    f.extend((8000 * u32::from(align)).to_le_bytes());
    f.extend(align.to_le_bytes());
    f.extend(bits.to_le_bytes());
    f
}

/// The format with another block alignment.
fn wide(mut format: Vec<u8>, align: u16) -> Vec<u8> {
    format[12..14].copy_from_slice(&align.to_le_bytes());
    format
}

fn extensible(tag: u16, container: u16, valid: u16) -> Vec<u8> {
    let mut f = fmt(0xfffe, 1, container);
    f.extend(22u16.to_le_bytes());
    f.extend(valid.to_le_bytes());
    f.extend(4u32.to_le_bytes());
    f.extend(tag.to_le_bytes());
    f.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    f
}

fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut c = id.to_vec();
    c.extend((body.len() as u32).to_le_bytes());
    c.extend(body);
    if body.len() % 2 == 1 {
        c.push(0);
    }
    c
}

/// A file of these chunks; `size` is the length in its RIFF header.
fn file(magic: &[u8; 4], size: Option<u32>, chunks: &[Vec<u8>]) -> Vec<u8> {
    let all = chunks.concat();
    let mut f = magic.to_vec();
    f.extend(size.unwrap_or(all.len() as u32 + 4).to_le_bytes());
    f.extend(b"WAVE");
    f.extend(all);
    f
}

/// A data chunk with this size in its header.
fn data(size: u32, body: &[u8]) -> Vec<u8> {
    [b"data", &size.to_le_bytes()[..], body].concat()
}

fn read_all(bytes: Vec<u8>) -> Result<Vec<f32>, String> {
    let mut reader = WavReader::open(Box::new(Cursor::new(bytes)))?;
    let mut all = Vec::new();
    loop {
        let more = reader.frames()?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

/// Checks that it contains the tone, and at most `more` further frames.
fn check(what: &str, bytes: Vec<u8>, more: usize) {
    let all = read_all(bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!((8000..=8000 + more).contains(&all.len()), "{what}: {} frames", all.len());
    for (i, v) in all.iter().take(8000).enumerate() {
        assert!((f64::from(*v) - tone(i)).abs() < 0.02, "{what}: frame {i} is {v}, not {}", tone(i));
    }
}

#[test]
fn every_coding_in_every_format_chunk() {
    let float = |v: f64| (v as f32).to_le_bytes().to_vec();
    let int = |bits: u32| {
        move |v: f64| {
            ((v * f64::from((1u32 << (bits - 1)) - 1)) as i32).to_le_bytes()[..bits as usize / 8].to_vec()
        }
    };
    let law = |encode: fn(i16) -> u8| move |v: f64| vec![encode((v * 32_767.0) as i16)];
    let zeros = |mut f: Vec<u8>, n: usize| {
        f.resize(n, 0);
        f
    };
    for (what, format, body) in [
        ("8 bits", fmt(1, 1, 8), samples(|v| vec![(128.0 + v * 127.0) as u8])),
        ("16 bits", fmt(1, 1, 16), pcm16()),
        ("12 bits in two bytes", fmt(1, 1, 12), pcm16()),
        ("24 bits", fmt(1, 1, 24), samples(int(24))),
        ("32 bits", fmt(1, 1, 32), samples(int(32))),
        ("float", fmt(3, 1, 32), samples(float)),
        ("double", fmt(3, 1, 64), samples(|v| v.to_le_bytes().to_vec())),
        ("A-law, 16 bytes of format", fmt(6, 1, 8), samples(law(g711::alaw_encode))),
        ("µ-law, 16 bytes of format", fmt(7, 1, 8), samples(law(g711::ulaw_encode))),
        ("µ-law, 18 bytes of format", zeros(fmt(7, 1, 8), 18), samples(law(g711::ulaw_encode))),
        ("PCM in 40 bytes of zeros", zeros(fmt(1, 1, 16), 40), pcm16()),
        ("µ-law that says it has 16 bits", fmt(7, 1, 16), samples(law(g711::ulaw_encode))),
        ("A-law in frames of two bytes", wide(fmt(6, 1, 8), 2), samples(law(g711::alaw_encode))),
        ("16 bits in frames that are said to be wider", wide(fmt(1, 1, 16), 4), pcm16()),
        ("24 bits in four bytes", wide(fmt(1, 1, 24), 4), samples(int(32))),
        ("extensible PCM", extensible(1, 16, 16), pcm16()),
        ("extensible 24 in 32 bits", extensible(1, 32, 24), samples(int(32))),
        ("extensible µ-law", extensible(7, 8, 8), samples(law(g711::ulaw_encode))),
        ("extensible A-law", extensible(6, 8, 8), samples(law(g711::alaw_encode))),
        ("extensible float", extensible(3, 32, 32), samples(float)),
        ("stereo", fmt(1, 2, 16), samples(|v| ((v * 32_767.0) as i16).to_le_bytes().repeat(2))),
    ] {
        check(what, file(b"RIFF", None, &[chunk(b"fmt ", &format), chunk(b"data", &body)]), 0);
    }
}

#[test]
fn unknown_sizes_mean_up_to_the_end() {
    let f = || chunk(b"fmt ", &fmt(1, 1, 16));
    for size in [0, 0x7fff_f000, 0x7fff_ffff, 0x8000_0000, 0xffff_ff00, u32::MAX] {
        for riff in [0, 36, size, size.wrapping_add(36)] {
            check(
                &format!("{size:#x} in {riff:#x}"),
                file(b"RIFF", Some(riff), &[f(), data(size, &pcm16())]),
                0,
            );
        }
    }
    check("longer than the file", file(b"RIFF", None, &[f(), data(17_000, &pcm16())]), 0);
    // A complete file without samples is empty, whatever follows.
    let list = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf60.3.100\0\0");
    let empty = file(b"RIFF", None, &[f(), data(0, &[]), list.clone()]);
    assert_eq!(read_all(empty).unwrap(), [0f32; 0]);
    check("a list behind the samples", file(b"RIFF", None, &[f(), chunk(b"data", &pcm16()), list]), 0);
}

#[test]
fn sizes_of_64_bits_and_big_endian_numbers() {
    let f = || chunk(b"fmt ", &fmt(1, 1, 16));
    let mut ds64 = (16_000u64 + 80).to_le_bytes().to_vec();
    ds64.extend(16_000u64.to_le_bytes());
    ds64.extend(8000u64.to_le_bytes());
    ds64.extend([0; 4]);
    for magic in [b"RF64", b"BW64"] {
        let chunks = [chunk(b"ds64", &ds64), f(), data(u32::MAX, &pcm16()), chunk(b"LIST", b"INFO")];
        check("sizes in ds64", file(magic, Some(u32::MAX), &chunks), 0);
    }
    // The 32-bit size is used if it is valid.
    check(
        "plain size",
        file(b"RF64", Some(u32::MAX), &[chunk(b"ds64", &ds64), f(), chunk(b"data", &pcm16())]),
        0,
    );
    let turned = |mut bytes: Vec<u8>, widths: &[usize]| {
        let mut at = 0;
        for w in widths {
            bytes[at..at + w].reverse();
            at += w;
        }
        bytes
    };
    let big = |id: &[u8; 4], body: Vec<u8>| [&id[..], &(body.len() as u32).to_be_bytes(), &body].concat();
    let format = big(b"fmt ", turned(fmt(1, 1, 16), &[2, 2, 4, 4, 2, 2]));
    let body = big(b"data", turned(pcm16(), &[2; 8000]));
    let all = [format, body].concat();
    let rifx = [b"RIFX", &(all.len() as u32 + 4).to_be_bytes()[..], b"WAVE", &all].concat();
    check("RIFX", rifx, 0);
}

#[test]
fn any_chunks_may_come_before_the_samples() {
    let f = || chunk(b"fmt ", &fmt(1, 1, 16));
    let unpadded = |id: &[u8; 4], body: &[u8]| [&id[..], &(body.len() as u32).to_le_bytes(), body].concat();
    for (what, before) in [
        ("JUNK", chunk(b"JUNK", &[0; 4096])),
        ("bext", chunk(b"bext", &[7; 602])),
        ("fact", chunk(b"fact", &[0, 1, 2, 3])),
        ("id3", chunk(b"id3 ", b"ID3\x03\0\0\0\0\0\0")),
        ("an odd list", chunk(b"LIST", b"INFOISFT\x05\0\0\0abcd\0")),
        ("an odd list without its pad byte", unpadded(b"LIST", b"INFOISFT\x05\0\0\0abcd\0")),
        (
            "odd parts in a list without their pad bytes",
            chunk(b"LIST", b"INFOISFT\x05\0\0\0abcd\0IART\x05\0\0\0abcd\0"),
        ),
        ("a list that says its parts are longer", chunk(b"LIST", b"INFOISFT\xff\xff\0\0abcd")),
        ("an empty one", chunk(b"PAD ", b"")),
    ] {
        check(what, file(b"RIFF", None, &[before.clone(), f(), chunk(b"data", &pcm16())]), 0);
        check(what, file(b"RIFF", None, &[f(), before, chunk(b"data", &pcm16())]), 0);
    }
    // The length field that follows may be printable as well.
    for frames in [4000usize, 8000, 8224, 0x2020] {
        let body: Vec<u8> = pcm16().into_iter().cycle().take(frames * 2).collect();
        let odd = unpadded(b"LIST", b"INFOISFT\x05\0\0\0abcd\0");
        let whole = file(b"RIFF", None, &[f(), odd, chunk(b"data", &body)]);
        assert_eq!(read_all(whole).map(|all| all.len()), Ok(frames));
    }
}

#[test]
fn padding_of_the_last_adpcm_block_is_removed() {
    // Blocks of 1 + 8 frames.
    let format = wide(fmt(0x11, 1, 4), 8);
    let with = |fact: &[Vec<u8>], blocks: usize| {
        let data = chunk(b"data", &[100, 0, 0, 0, 0, 0, 0, 0].repeat(blocks));
        read_all(file(b"RIFF", None, &[&[chunk(b"fmt ", &format)], fact, &[data]].concat())).unwrap()
    };
    let fact = |frames: u32| [chunk(b"fact", &frames.to_le_bytes())];
    assert_eq!(with(&[], 3).len(), 27, "whole blocks");
    assert_eq!((with(&fact(20), 3).len(), with(&fact(18), 3).len(), with(&fact(99), 3).len()), (20, 18, 27));
    assert_eq!(with(&fact(0), 3).len(), 27, "unknown number of frames");
    let cut = [chunk(b"fmt ", &format), data(11, &[100, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0])];
    assert_eq!(read_all(file(b"RIFF", None, &cut)).unwrap().len(), 9, "the second block is cut in its head");
    assert!(with(&[], 1).iter().all(|s| (s * 32_768.0).round() == 100.0));
}

#[test]
fn unsupported_files_are_rejected_with_a_reason() {
    let with = |format: Vec<u8>| file(b"RIFF", None, &[chunk(b"fmt ", &format), chunk(b"data", &[0; 64])]);
    for (what, bytes, says) in [
        ("ADPCM of 3 bits", with(wide(fmt(0x11, 1, 3), 256)), "format 0x11, 3 bits"),
        ("ADPCM in no blocks", with(fmt(2, 1, 4)), "its blocks hold no samples"),
        (
            "an unknown predictor",
            { file(b"RIFF", None, &[chunk(b"fmt ", &wide(fmt(2, 1, 4), 32)), chunk(b"data", &[7; 64])]) },
            "a block of its samples cannot be decoded",
        ),
        ("MPEG", with(fmt(0x50, 1, 0)), "unsupported encoding"),
        ("no bits", with(fmt(1, 1, 0)), "unsupported encoding"),
        ("64 bits", with(fmt(1, 1, 64)), "unsupported encoding"),
        ("half a format", with(fmt(1, 1, 16)[..8].to_vec()), "its format is cut short"),
        ("no format", file(b"RIFF", None, &[chunk(b"data", &[0; 64])]), "no format before the samples"),
        ("no samples", file(b"RIFF", None, &[chunk(b"fmt ", &fmt(1, 1, 16))]), "no samples in it"),
        ("a head alone", b"RIFF\0\0\0\0WAVE".to_vec(), "no samples in it"),
        ("a format beyond the end", b"RIFF\0\0\0\0WAVEfmt \xff\0\0\0\x01\0".to_vec(), "cut short"),
        ("less", b"RIFF".to_vec(), "cut short"),
    ] {
        let error = read_all(bytes).unwrap_err();
        assert!(error.contains(says), "{what}: {error}");
    }
    // Non-finite and out-of-range values.
    let odd: Vec<u8> = [f32::NAN, f32::INFINITY, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let odd = file(b"RIFF", None, &[chunk(b"fmt ", &fmt(3, 1, 32)), chunk(b"data", &odd)]);
    assert_eq!(read_all(odd).unwrap(), [0.0, 0.0, 1.0]);
}
