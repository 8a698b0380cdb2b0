//! Audio between phones with G.711, G.722 and Opus, and playbacks to them: checked by samples.

use std::f64::consts::TAU;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::office::{Office, done};
use branchline::dsp::resample::Resampler;
use branchline::io::wav::reader::WavReader;

use crate::phone::{Phone, rms, write_voice};

/// Level of a frequency in audio of `rate` Hz: the median amplitude of its sine over tenths of a second, so
/// that a phase jump (compensated clock drift) does not lower it.
fn level(x: &[i16], hz: f64, rate: f64) -> f64 {
    let mut levels: Vec<f64> =
        x.chunks_exact((rate / 10.0) as usize).map(|part| amplitude(part, hz, rate)).collect();
    levels.sort_by(f64::total_cmp);
    levels[levels.len() / 2]
}

fn amplitude(x: &[i16], hz: f64, rate: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (i, s) in x.iter().enumerate() {
        // A Hann window suppresses the other tones.
        let window = 1.0 - (TAU * i as f64 / x.len() as f64).cos();
        let a = TAU * hz * i as f64 / rate;
        re += f64::from(*s) * window * a.cos();
        im += f64::from(*s) * window * a.sin();
    }
    2.0 * (re * re + im * im).sqrt() / x.len() as f64
}

fn decibels(x: f64, of: f64) -> f64 {
    20.0 * (x.max(0.01) / of).log10()
}

/// A WAV file with two minutes of these sines, amplitude 3000 each.
fn chord(path: &Path, rate: u32, tones: &[f64]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut w = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..rate * 120 {
        let v: f64 = tones.iter().map(|hz| 3000.0 * (TAU * hz * f64::from(i) / f64::from(rate)).sin()).sum();
        w.write_sample(v as i16).unwrap();
    }
    w.finalize().unwrap();
}

/// A phone with one codec, whose voice is a chord; it hears at `rate` Hz.
struct Talker {
    phone: Phone,
    codec: &'static str,
    rate: f64,
    tones: [f64; 2],
}

#[test]
fn phones_of_three_codecs_hear_each_other_in_one_room() {
    let office = Office::open("codecs", &[]);
    assert_eq!(office.gateway.post("/v1/rooms", r#"{"id":"r","sample_rate":48000}"#).status, 201);
    let mut talkers = Vec::new();
    for (i, (codec, rate, tones)) in [
        ("pcmu", 8000, [401.0, 1507.0]),
        ("g722/16000/1", 16_000, [613.0, 5197.0]),
        ("opus/48000/2", 48_000, [1009.0, 6389.0]),
    ]
    .into_iter()
    .enumerate()
    {
        let file = office.dir().join(format!("{rate}.wav"));
        chord(&file, rate, &tones);
        let port = 5770 + 2 * i as u16;
        let mut phone = Phone::with_codec(office.dir(), port, &file, codec);
        let leg = office.call_in(&mut phone, "r");
        talkers.push(Talker { phone, codec, rate: f64::from(rate), tones });
        assert_eq!(office.gateway.get(&format!("/v1/legs/{leg}")).json()["state"], "connected");
        let hears = talkers.last().map(|t: &Talker| t.phone.wait("hears"));
        println!("{codec}: {hears:?}");
    }
    for listener in &talkers {
        let heard = listener.phone.hear_at(2.0, listener.rate);
        let x = &heard[heard.len() / 4..];
        for speaker in &talkers {
            for hz in speaker.tones {
                let found = decibels(level(x, hz, listener.rate), 3000.0);
                let what = format!("{} hears {hz} Hz of {} at {found:.1} dB", listener.codec, speaker.codec);
                println!("{what}");
                if speaker.codec == listener.codec || hz > listener.rate * 0.45 {
                    assert!(found < -40.0, "{what}");
                } else {
                    assert!(found.abs() <= 1.0, "{what}");
                }
            }
        }
        if listener.codec == "pcmu" {
            // Where 5197 and 6389 Hz would appear as aliases.
            for alias in [2803.0, 1611.0] {
                let found = decibels(level(x, alias, 8000.0), 3000.0);
                assert!(found < -40.0, "an alias at {alias} Hz: {found:.1} dB");
            }
        }
    }
}

/// The best correlation of a second of the received audio with any part of the sent audio, both at 8 kHz.
fn alike(heard: &[i16], said: &[i16]) -> f64 {
    let second = &heard[..8000.min(heard.len())];
    let thin = |x: &[i16]| -> Vec<i16> {
        x.chunks_exact(8).map(|c| (c.iter().map(|s| i32::from(*s)).sum::<i32>() / 8) as i16).collect()
    };
    let share = |x: &[i16], y: &[i16]| {
        let (mut xy, mut xx, mut yy) = (0.0, 1.0, 1.0);
        for (a, b) in x.iter().zip(y) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            (xy, xx, yy) = (xy + a * b, xx + a * a, yy + b * b);
        }
        xy / (xx * yy).sqrt()
    };
    let (x, y) = (thin(second), thin(said));
    let mut places: Vec<(f64, usize)> =
        (0..y.len() - x.len()).map(|at| (share(&x, &y[at..at + x.len()]), at * 8)).collect();
    places.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near = places.iter().take(4).flat_map(|(_, at)| at.saturating_sub(10)..at + 10);
    near.filter_map(|at| Some(share(second, said.get(at..at + second.len())?))).fold(0.0, f64::max)
}

/// The same at 8 kHz.
fn at_8_khz(heard: &[i16], rate: u32) -> Vec<i16> {
    let mut down = Resampler::new(rate, 8000);
    let frames = heard.chunks_exact(rate as usize / 50);
    frames
        .flat_map(|f| {
            let mut out = vec![0; 160];
            match &mut down {
                Some(d) => d.process(f, &mut out),
                None => out.copy_from_slice(f),
            }
            out
        })
        .collect()
}

#[test]
fn speech_is_preserved_by_every_codec() {
    let office = Office::open("speech", &[]);
    assert_eq!(office.gateway.post("/v1/rooms", r#"{"id":"r","sample_rate":48000}"#).status, 201);
    let codecs = [("pcmu", 8000u32), ("pcma", 8000), ("g722/16000/1", 16_000), ("opus/48000/2", 48_000)];
    let silence = office.dir().join("silence.wav");
    write_voice(&silence, &[0; 8000]);
    let mut phones = Vec::new();
    for (i, (codec, rate)) in codecs.into_iter().enumerate() {
        let file = office.dir().join(format!("speech-{rate}.wav"));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut w = hound::WavWriter::create(&file, spec).unwrap();
        crate::network::frames(rate, 8).concat().into_iter().for_each(|s| w.write_sample(s).unwrap());
        w.finalize().unwrap();
        let mut phone = Phone::with_codec(office.dir(), 5790 + 2 * i as u16, &file, codec);
        let leg = office.call_in(&mut phone, "r");
        assert_eq!(office.gateway.post(&format!("/v1/legs/{leg}/mute"), "").status, 200);
        phone.wait("hears");
        phones.push((phone, leg));
    }
    let said = crate::network::frames(8000, 1).concat();
    for (i, (speaker, _)) in codecs.iter().enumerate() {
        let mute = format!("/v1/legs/{}/mute", phones[i].1);
        assert_eq!(office.gateway.delete(&mute).status, 200);
        for (j, (listener, rate)) in codecs.iter().enumerate().filter(|(j, _)| *j != i) {
            phones[j].0.hear_at(0.3, f64::from(*rate));
            // A second with enough speech. The received audio may be shifted by a fraction of a sample.
            let mut best: f64 = 0.0;
            for _ in 0..8 {
                let heard = phones[j].0.hear_at(1.1, f64::from(*rate));
                for first in 0..*rate as usize / 8000 {
                    let low = at_8_khz(&heard[first..], *rate);
                    best = best.max(if rms(&low) > 300.0 { alike(&low[160..], &said) } else { 0.0 });
                }
                if best > 0.95 {
                    break;
                }
            }
            println!("{listener} hears {speaker}: correlation {best:.3}");
            assert!(best >= 0.9, "{listener} hears {speaker}: {best:.3}");
        }
        assert_eq!(office.gateway.post(&mute, "").status, 200);
    }
}

/// A web server with one sound per path, each with its own behaviour.
fn server(dir: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, dir) = (stream.unwrap(), dir.clone());
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let n = stream.read(&mut head).unwrap();
                let head = String::from_utf8_lossy(&head[..n]).into_owned();
                let path = head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                let plain = |status: &str, more: &str| {
                    format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n")
                };
                let reply = match path.as_str() {
                    "missing" => plain("404 Not Found", ""),
                    "away" => plain("302 Found", "Location: http://169.254.169.254/secret\r\n"),
                    "moved" => plain("302 Found", &format!("Location: http://127.0.0.1:{port}/tone.mp3\r\n")),
                    "circle" => plain("302 Found", &format!("Location: http://127.0.0.1:{port}/circle\r\n")),
                    "endless" => {
                        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                        while stream.write_all(&[0; 65_536]).is_ok() {}
                        return;
                    }
                    "stalled" => {
                        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nRIFF");
                        std::thread::park_timeout(Duration::from_secs(60));
                        return;
                    }
                    "mute" => {
                        std::thread::park_timeout(Duration::from_secs(60));
                        return;
                    }
                    "huge" => "HTTP/1.1 200 OK\r\nContent-Length: 90000000000\r\n\r\nRIFF".to_owned(),
                    "cut" => "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nRIFF".to_owned(),
                    _ => {
                        let body = std::fs::read(dir.join(&path)).unwrap_or_default();
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                        let _sent = stream.write_all(head.as_bytes());
                        let _sent = stream.write_all(&body);
                        return;
                    }
                };
                let _sent = stream.write_all(reply.as_bytes());
            });
        }
    });
    port
}

#[test]
fn files_of_every_kind_are_played_and_bad_ones_are_rejected_with_a_reason() {
    let prompts = std::env::temp_dir().join(format!("branchline-prompts-{}", std::process::id()));
    std::fs::create_dir_all(prompts.join("de")).unwrap();
    let office = Office::open("sounds", &[("PROMPT_DIR", prompts.to_str().unwrap())]);
    let dir = office.dir().to_owned();
    // One tone in every format, created by another program.
    let wav = |name: &str, more: &[&str]| {
        let mut c = Command::new("sox");
        c.args(["-n", "-r", "16000", "-c", "1"]).args(more).arg(dir.join(name));
        assert!(c.args(["synth", "2", "sine", "700", "gain", "-12"]).status().unwrap().success(), "{name}");
    };
    wav("u8.wav", &["-b", "8", "-e", "unsigned-integer"]);
    wav("s16.wav", &["-b", "16"]);
    wav("s24.wav", &["-b", "24"]);
    wav("s32.wav", &["-b", "32"]);
    wav("float.wav", &["-b", "32", "-e", "floating-point"]);
    wav("alaw.wav", &["-e", "a-law"]);
    wav("ulaw.wav", &["-e", "u-law"]);
    wav("msadpcm.wav", &["-e", "ms-adpcm"]);
    wav("imaadpcm.wav", &["-e", "ima-adpcm"]);
    wav("raw.raw", &["-b", "16", "-e", "signed-integer"]);
    let convert = |args: &[&str], to: &str| {
        let mut c = Command::new("ffmpeg");
        c.args(["-loglevel", "error", "-y", "-i"]).arg(dir.join("s16.wav")).args(args).arg(dir.join(to));
        assert!(c.status().unwrap().success(), "{to}");
    };
    let both = ["-af", "pan=stereo|c0=c0|c1=c0"];
    convert(&[&both[..], &["-ar", "44100", "-b:a", "64k"]].concat(), "tone.mp3");
    convert(&[&both[..], &["-ar", "11025"]].concat(), "stereo.wav");
    convert(&["-ar", "192000"], "high.wav");
    convert(&[&both[..], &["-c:a", "adpcm_ms"]].concat(), "stereoms.wav");
    convert(&[&both[..], &["-c:a", "adpcm_ima_wav"]].concat(), "stereoima.wav");
    std::fs::copy(dir.join("s16.wav"), prompts.join("de/welcome.wav")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", prompts.join("out.wav")).unwrap();
    std::fs::write(dir.join("page.html"), "<html>hello</html>").unwrap();
    std::fs::write(dir.join("empty.wav"), "").unwrap();
    let port = server(&dir);

    let (phone, leg) = office.caller_in_room(5780, "r");
    let play = |body: String| {
        let reply = office.gateway.post(&format!("/v1/legs/{leg}/play"), &body);
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        reply.json()["playback_id"].as_str().unwrap().to_owned()
    };
    let raw = r#"","mime_type":"audio/L16;rate=16000"#;
    let at = |name: &str| format!("http://127.0.0.1:{port}/{name}");
    let mut sounds: Vec<String> = ["u8", "s16", "s24", "s32", "float", "alaw", "ulaw", "stereo", "high"]
        .iter()
        .chain(&["msadpcm", "imaadpcm", "stereoms", "stereoima"])
        .map(|n| at(&format!("{n}.wav")))
        .collect();
    sounds.extend([
        at("tone.mp3"),
        at("moved"),
        format!("{}{raw}", at("raw.raw")),
        "file:de/welcome.wav".to_owned(),
    ]);
    for url in sounds {
        let id = play(format!(r#"{{"url":"{url}"}}"#));
        assert_eq!(office.event_of("playback.started", &leg)["playback_id"], id.as_str(), "{url}");
        phone.hear(0.3);
        let heard = phone.hear(0.8);
        let found = decibels(level(&heard, 700.0, 8000.0), 8230.0);
        assert!(found.abs() < 1.0, "{url}: {found:.2} dB");
        assert!(
            (rms(&heard) / (level(&heard, 700.0, 8000.0) / 2f64.sqrt()) - 1.0).abs() < 0.05,
            "{url}: it is pure"
        );
        let over = office.event_of("playback.finished", &leg);
        assert_eq!((&over["playback_id"], &over["reason"]), (&id.as_str().into(), &"completed".into()));
        let ms = over["played_ms"].as_u64().unwrap();
        assert!((1980..=2120).contains(&ms), "{url}: {ms} ms");
    }

    for (url, says) in [
        (at("missing"), "404"),
        (at("away"), "not allowed"),
        (at("circle"), "redirect"),
        (at("endless"), "larger than 64 MiB"),
        (at("huge"), "larger than 64 MiB"),
        (at("cut"), ""),
        (at("page.html"), "neither a WAV file nor MP3"),
        (at("empty.wav"), "the file is empty"),
        ("file:none.wav".to_owned(), "no such prompt"),
        ("file:out.wav".to_owned(), "no such prompt"),
        ("http://127.0.0.1:9/x.wav".to_owned(), ""),
    ] {
        let id = play(format!(r#"{{"url":"{url}"}}"#));
        let error = office.event_of("playback.error", &leg);
        assert_eq!(error["playback_id"], id.as_str());
        assert!(error["error"].as_str().unwrap().contains(says), "{url}: {error}");
    }
    for url in ["file:../x.wav", "file:/etc/passwd", "file:a/../../b", "file:", "file:.hidden", "ftp://x/y"] {
        let reply = office.gateway.post(&format!("/v1/legs/{leg}/play"), &format!(r#"{{"url":"{url}"}}"#));
        assert!(reply.status == 400 && reply.error().contains("url"), "{url}: {reply:?}");
    }

    // Stalled servers delay no other fetch, and their fetches can be cancelled.
    let stalled: Vec<String> = (0..20)
        .map(|n| play(format!(r#"{{"url":"{}"}}"#, at(if n % 2 == 0 { "stalled" } else { "mute" }))))
        .collect();
    let prompt = play(r#"{"url":"file:de/welcome.wav","repeat":2}"#.to_owned());
    assert_eq!(office.event_of("playback.started", &leg)["playback_id"], prompt.as_str());
    for id in &stalled {
        done(office.gateway.delete(&format!("/v1/legs/{leg}/play/{id}")), "stopped");
        let over = office.event_of("playback.finished", &leg);
        assert_eq!((&over["playback_id"], &over["played_ms"]), (&id.as_str().into(), &0.into()));
    }
    let over = office.event_of("playback.finished", &leg);
    assert_eq!((&over["playback_id"], &over["reason"]), (&prompt.as_str().into(), &"completed".into()));
    assert!(over["played_ms"].as_u64().unwrap().abs_diff(4000) < 60, "twice: {over}");
    // Louder by two steps of 3 dB, then stopped.
    let id = play(format!(r#"{{"url":"{}","repeat":-1,"volume":-4}}"#, at("s16.wav")));
    assert_eq!(office.event_of("playback.started", &leg)["playback_id"], id.as_str());
    phone.hear(0.5);
    let before = level(&phone.hear(0.5), 700.0, 8000.0);
    done(office.gateway.patch(&format!("/v1/legs/{leg}/play/{id}"), r#"{"volume":-2}"#), "ok");
    phone.hear(0.3);
    let louder = decibels(level(&phone.hear(0.5), 700.0, 8000.0), before);
    assert!((louder - 6.0).abs() < 0.5, "{louder:.2} dB");
    done(office.gateway.delete(&format!("/v1/legs/{leg}/play/{id}")), "stopped");
    let over = office.event_of("playback.finished", &leg);
    assert_eq!((&over["playback_id"], &over["reason"]), (&id.as_str().into(), &"stopped".into()));
    office.gateway.assert_never_stood_still();

    // A room's playback continues when its first leg leaves; two concurrent playbacks are both heard.
    let (other, _) = office.caller_in_room(5782, "r");
    let body = format!(r#"{{"url":"{}","repeat":-1,"volume":-4}}"#, at("s16.wav"));
    let id =
        office.gateway.post("/v1/rooms/r/play", &body).json()["playback_id"].as_str().unwrap().to_owned();
    let tone = office.gateway.post("/v1/rooms/r/play", r#"{"tone":"de_dial"}"#);
    let tone = tone.json()["playback_id"].as_str().unwrap().to_owned();
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    office.ended(&leg);
    other.hear(2.5);
    let heard = other.hear(1.0);
    let (file, dial) = (level(&heard, 700.0, 8000.0), level(&heard, 425.0, 8000.0));
    assert!(decibels(file, 8230.0 * 0.2512).abs() < 1.5, "{file}");
    assert!(decibels(dial, 23_000.0).abs() < 1.5, "{dial}");
    for id in [id, tone] {
        done(office.gateway.delete(&format!("/v1/rooms/r/play/{id}")), "stopped");
    }
}

#[test]
fn adpcm_is_decoded_bit_exact_with_sox() {
    let dir = std::env::temp_dir().join(format!("branchline-adpcm-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let run = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    for coding in ["adpcm_ms", "adpcm_ima_wav"] {
        for channels in [1, 2] {
            let file = dir.join(format!("{coding}{channels}.wav"));
            let (name, count) = (file.to_str().unwrap(), channels.to_string());
            let noise = "anoisesrc=r=16000:d=2:a=0.9:seed=1";
            run(
                "ffmpeg",
                &["-loglevel", "error", "-f", "lavfi", "-i", noise, "-ac", &count, "-c:a", coding, name],
            );
            let raw = run("sox", &["-D", name, "-t", "s16", "-"]);
            let theirs: Vec<f32> = raw
                .chunks_exact(2 * channels)
                .map(|frame| {
                    let samples = frame.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])));
                    samples.map(|s| s / 32_768.0).sum::<f32>() / channels as f32
                })
                .collect();
            let mut reader = WavReader::open(Box::new(std::fs::File::open(&file).unwrap())).unwrap();
            let mut ours = Vec::new();
            loop {
                let more = reader.frames().unwrap();
                if more.is_empty() {
                    break;
                }
                ours.extend(more);
            }
            let both = ours.len().min(theirs.len());
            assert!(both >= 32_000, "{coding}: {} and {}", ours.len(), theirs.len());
            assert!(ours[..both] == theirs[..both], "{coding} with {channels} channels");
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}
