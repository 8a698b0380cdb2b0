//! Answering-machine detection on recordings of people (Debian's prompts in five languages), short synthetic
//! greetings in many voices, tones, music, noise and silence; and with a real phone. Also: no digits are
//! detected in hours of speech.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use branchline::base::rng::Rng;
use branchline::dsp::dtmf::DtmfDetector;
use branchline::dsp::tone::{TONES, ToneGenerator, ToneSpec};
use branchline::media::amd::{Amd, AmdEvent, Parameters};

use crate::office::Office;
use crate::phone::{Phone, script, sweep, write_voice};

const SOUNDS: &str = "/usr/share/asterisk/sounds";
const MUSIC: &str = "/usr/share/asterisk/moh";

/// A recording, its class, and its samples at 8 kHz from the answer on.
struct Sample {
    name: String,
    class: &'static str,
    sound: Vec<i16>,
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}: scripts/install.sh test installs it", dir.display()))
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "wav") {
            out.push(path);
        }
    }
}

fn read(path: &Path) -> Vec<i16> {
    let mut wav = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!((wav.spec().sample_rate, wav.spec().channels), (8000, 1), "{}", path.display());
    wav.samples::<i16>().map(Result::unwrap).collect()
}

/// A stable hash of a name.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Line noise, then the audio, then noise again: 8 s in total.
fn line(name: &str, sound: &[i16]) -> Vec<i16> {
    let mut rng = Rng::from_number(hash(name));
    let before = 2400 + rng.below(5600) as usize;
    let mut x: Vec<i16> = (0..64_000).map(|_| rng.below(41) as i16 - 20).collect();
    for (to, s) in x.iter_mut().skip(before).zip(sound) {
        *to = to.saturating_add(*s);
    }
    x
}

/// Prompts longer than 4 s: whole sentences, like greetings.
fn machines(all: &[PathBuf]) -> Vec<Sample> {
    let mut out = Vec::new();
    for path in all {
        let sound = read(path);
        // Without leading and trailing silence.
        let loud = |s: &i16| s.unsigned_abs() > 600;
        let (Some(first), Some(last)) = (sound.iter().position(loud), sound.iter().rposition(loud)) else {
            continue;
        };
        if last - first < 4 * 8000 {
            continue;
        }
        let name = path.strip_prefix(SOUNDS).unwrap().display().to_string();
        out.push(Sample { sound: line(&name, &sound[first..=last]), class: "machine", name });
    }
    out
}

/// Typical short greetings of humans, synthesized in several voices.
fn humans(dir: &Path) -> Vec<Sample> {
    const HELLOS: [(&str, &[&str]); 12] = [
        ("en-us", &["Hello?", "Yes?", "Hello, this is John.", "Good morning."]),
        ("en-gb", &["Hello?", "Smith here.", "Hi, who is it?"]),
        ("de", &["Hallo?", "Ja bitte?", "Müller, guten Tag."]),
        ("fr", &["Allô?", "Oui, bonjour?", "Allô, j'écoute."]),
        ("es", &["¿Diga?", "¿Hola?", "¿Sí, quién es?"]),
        ("it", &["Pronto?", "Sì, pronto, chi parla?"]),
        ("pl", &["Halo?", "Słucham?", "Tak, słucham."]),
        ("nl", &["Hallo?", "Met Jan."]),
        ("pt", &["Alô?", "Está lá?"]),
        ("ru", &["Алло?", "Да, слушаю."]),
        ("sv", &["Hej, det är Anna.", "Hallå?"]),
        ("tr", &["Alo?", "Efendim?"]),
    ];
    let mut out = Vec::new();
    for (language, hellos) in HELLOS {
        for (i, text) in hellos.iter().enumerate() {
            for voice in ["m1", "f2", "m3", "f4"].iter().skip(i % 2).step_by(2) {
                let name = format!("hello/{language}+{voice}/{i}");
                let (raw, wav) = (dir.join("raw.wav"), dir.join("hello.wav"));
                let run = |c: &mut Command| assert!(c.status().unwrap().success(), "{name}");
                run(Command::new("espeak-ng")
                    .args(["-v", &format!("{language}+{voice}"), "-w"])
                    .arg(&raw)
                    .arg(text));
                run(Command::new("sox").arg(&raw).args(["-r", "8000", "-c", "1", "-b", "16"]).arg(&wav));
                out.push(Sample { sound: line(&name, &read(&wav)), class: "human", name });
            }
        }
    }
    out
}

/// Recorded single words followed by silence: humans as well.
fn words(all: &[PathBuf]) -> Vec<Sample> {
    let is_word = |p: &&PathBuf| {
        let path = p.display().to_string();
        ["/digits/1.wav", "/digits/7.wav", "/hello.wav", "/digits/20.wav", "/letters/a.wav", "/yes.wav"]
            .iter()
            .any(|end| path.ends_with(end))
    };
    let sample = |path: &PathBuf| {
        let name = path.strip_prefix(SOUNDS).unwrap().display().to_string();
        Sample { sound: line(&name, &read(path)), class: "human", name }
    };
    all.iter().filter(is_word).map(sample).collect()
}

/// Silence, and noise without voice.
fn nobody() -> Vec<Sample> {
    let mut out = vec![Sample { name: "silence".to_owned(), class: "no_speech", sound: vec![0; 64_000] }];
    for i in 0..14u64 {
        let mut rng = Rng::from_number(i);
        let loud = 20 + i as u32 * 30;
        let sound = (0..64_000).map(|_| rng.below(2 * loud + 1) as i16 - loud as i16).collect();
        out.push(Sample { name: format!("noise/{loud}"), class: "no_speech", sound });
    }
    out
}

/// Network tones: neither human nor machine.
fn tones() -> Vec<Sample> {
    let tone = |(name, spec): &(&str, ToneSpec)| {
        let mut sound = vec![0; 64_000];
        ToneGenerator::new(*spec, 8000).fill(&mut sound);
        sound.iter_mut().for_each(|s| *s /= 3);
        Sample { name: format!("tone/{name}"), class: "tone", sound }
    };
    TONES.iter().map(tone).collect()
}

/// The verdict, and whether a beep was detected after it.
fn analyse(sound: &[i16], parameters: Parameters) -> (&'static str, bool) {
    let mut amd = Amd::new(parameters);
    let (mut verdict, mut beep) = ("none", false);
    for frame in sound.chunks_exact(160) {
        match amd.frame(Some(frame)) {
            Some(AmdEvent::Outcome(o)) => verdict = o.verdict.as_str(),
            Some(AmdEvent::Beep(_)) => beep = true,
            None => {}
        }
    }
    (verdict, beep)
}

/// A third of the samples is held out during development of the detector (`AMD_DEVELOP=1`).
fn is_held_out(name: &str) -> bool {
    hash(name).is_multiple_of(3)
}

type Table = BTreeMap<&'static str, BTreeMap<&'static str, u32>>;

fn right(class: &str, verdict: &str) -> bool {
    if class == "tone" { !["human", "machine"].contains(&verdict) } else { class == verdict }
}

fn show(title: &str, table: &Table) -> (u32, u32) {
    println!("{title}");
    let mut sum = (0, 0);
    for (class, verdicts) in table {
        let all: u32 = verdicts.values().sum();
        let good: u32 = verdicts.iter().filter(|(v, _)| right(class, v)).map(|(_, n)| n).sum();
        sum = (sum.0 + good, sum.1 + all);
        println!("  {class:9} {good:4} of {all:4} right: {verdicts:?}");
    }
    sum
}

#[test]
fn machines_and_humans_are_distinguished() {
    let dir = std::env::temp_dir().join(format!("branchline-amd-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut prompts = Vec::new();
    files(Path::new(SOUNDS), &mut prompts);
    let developing = std::env::var_os("AMD_DEVELOP").is_some();
    let mut snapshot = String::new();
    let mut tables = [Table::new(), Table::new()];
    let groups = [machines(&prompts), humans(&dir), words(&prompts), nobody(), tones()];
    for sample in groups.iter().flatten() {
        let apart = is_held_out(&sample.name);
        if apart && developing {
            continue;
        }
        let (verdict, _) = analyse(&sample.sound, Parameters::default());
        writeln!(snapshot, "{} {} {verdict}", sample.class, sample.name).unwrap();
        *tables[usize::from(apart)].entry(sample.class).or_default().entry(verdict).or_default() += 1;
    }
    let [open, apart] = &tables;
    let mut sums = [show("looked at during development", open), (0, 0)];
    if !developing {
        sums[1] = show("held out", apart);
    }
    let of = |class: &str| tables.iter().filter_map(|t| t.get(class)).flat_map(|v| v.values()).sum::<u32>();
    if !developing {
        assert!(of("machine") >= 50 && of("human") >= 50 && sums[0].1 + sums[1].1 >= 150);
    }
    for table in &tables {
        for (class, verdicts) in table {
            let all: u32 = verdicts.values().sum();
            let good: u32 = verdicts.iter().filter(|(v, _)| right(class, v)).map(|(_, n)| n).sum();
            assert!(f64::from(good) >= 0.9 * f64::from(all), "{class}: {good} of {all}");
        }
    }
    for (good, all) in sums {
        assert!(f64::from(good) >= 0.95 * f64::from(all), "{good} of {all}");
    }
    if !developing {
        keep("amd.snapshot", &snapshot);
    }
}

/// Compares with the stored snapshot; `BLESS=1` replaces it.
fn keep(name: &str, text: &str) {
    let path = script(&format!("tests/peers/{name}"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<(&str, &str)> = kept.lines().zip(text.lines()).filter(|(a, b)| a != b).collect();
    assert!(kept == text, "{name} has changed (BLESS=1 keeps it anew): {changed:?}");
}

#[test]
fn beeps_are_heard_and_music_is_not_one() {
    let waiting = Parameters { beep_timeout: 60_000, ..Parameters::default() };
    let mut greeting = Vec::new();
    files(Path::new(SOUNDS), &mut greeting);
    let greeting = greeting.iter().find(|p| p.ends_with("vm-intro.wav")).unwrap();
    let greeting = read(greeting);
    for hz in [800.0, 850.0, 1000.0, 1130.0, 1200.0] {
        let tone = |i: usize| (5000.0 * (std::f64::consts::TAU * hz * i as f64 / 8000.0).sin()) as i16;
        let mut sound = greeting.clone();
        sound.extend((0..3200).map(tone));
        assert_eq!(analyse(&sound, waiting), ("machine", true), "{hz} Hz");
    }
    assert_eq!(analyse(&greeting, waiting), ("machine", false), "no beep in the greeting itself");
    let mut music = Vec::new();
    files(Path::new(MUSIC), &mut music);
    assert!(music.len() >= 4);
    for path in music {
        let mut sound = greeting.clone();
        sound.extend(read(&path).iter().take(8000 * 55));
        assert_eq!(analyse(&sound, waiting), ("machine", false), "{}", path.display());
    }
}

#[test]
fn hours_of_speech_hold_no_digits() {
    let mut prompts = Vec::new();
    files(Path::new(SOUNDS), &mut prompts);
    let mut samples = 0;
    let mut found = Vec::new();
    for path in &prompts {
        let name = path.display().to_string();
        let mut detector = DtmfDetector::new(8000);
        let sound = read(path);
        samples += sound.len();
        for (i, frame) in sound.chunks(160).enumerate() {
            if let Some(digit) = detector.frame(frame) {
                found.push(format!("{name}: {digit} at {} ms", i * 20));
            }
        }
    }
    println!(
        "talk-off: {:.2} hours of speech, {} false digits: {found:?}",
        samples as f64 / 28.8e6,
        found.len()
    );
    assert!(samples > 8000 * 3600 && found.is_empty());
}

#[test]
fn the_amd_result_of_a_call_is_reported() {
    let office = Office::open("amd", &[]);
    let call = |voice: &[i16], port: u16, amd: &str| {
        let file = office.dir().join(format!("voice-{port}.wav"));
        write_voice(&file, voice);
        let mut phone = Phone::start(office.dir(), port, &file, "user");
        let leg =
            office.originate(&format!(r#"{{"type":"sip","uri":"sip:user@127.0.0.1:{port}","amd":{amd}}}"#));
        phone.wait("incoming");
        phone.say("answer");
        let result = office.event_of("amd.result", &leg);
        (leg, result, phone)
    };
    let tone = |ms: usize, all: usize| -> Vec<i16> {
        let voice = sweep(200.0, 2000.0);
        let at = |i: usize| voice[i % 8000];
        (0..all * 8).map(|i| if (4000..4000 + ms * 8).contains(&i) { at(i) } else { 0 }).collect()
    };
    let (leg, result, _phone) = call(&tone(700, 10_000), 5730, "{}");
    assert_eq!(result["result"], "human", "{result}");
    let greeting = result["greeting_duration_ms"].as_u64().unwrap();
    assert!((660..=820).contains(&greeting), "{result}");
    // The same leg again, now silent; speech detection is reported, too.
    assert_eq!(office.gateway.post(&format!("/v1/legs/{leg}/amd"), "").json()["status"], "started");
    assert_eq!(office.event_of("amd.result", &leg)["result"], "no_speech");
    office.event_of("speaking.started", &leg);
    office.event_of("speaking.stopped", &leg);
    let figures = office.gateway.get(&format!("/v1/legs/{leg}/quality")).json();
    assert!(figures["mos_score"].as_f64().unwrap() > 4.0, "{figures}");
    assert!(figures["rtp_packets_received"].as_u64().unwrap() > 100, "{figures}");

    // A machine, then its beep.
    let mut voice = tone(3000, 6000);
    for (i, s) in voice.iter_mut().enumerate().skip(4000 + 3500 * 8).take(3200) {
        *s = (6000.0 * (std::f64::consts::TAU * 1000.0 * i as f64 / 8000.0).sin()) as i16;
    }
    let (leg, result, _phone) = call(&voice, 5732, r#"{"beep_timeout":10000}"#);
    assert_eq!(result["result"], "machine", "{result}");
    let beep = office.event_of("amd.beep", &leg);
    assert!((1500..3500).contains(&beep["beep_ms"].as_u64().unwrap()), "{beep}");
}
