//! Speech quality after bad networks, by PESQ: the results are stored, so that changes are visible in review.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use branchline::codec::Codec;
use branchline::dsp::frame_len;
use branchline::dsp::resample::Resampler;

use crate::network::{Weather, travel};
use crate::phone::{python, script};

/// Clock drift of the far end in half of the rows, ppm: chosen so that 12 s correspond to four minutes at 100
/// ppm.
const DRIFT: i32 = 2000;

/// Allowed difference of scores from the stored ones; and of shares and delays, per cent and ms.
const SCORE: f64 = 0.1;
const SHARE: f64 = 0.5;
const DELAY: f64 = 3.0;

/// PESQ supports 8 and 16 kHz.
fn at_sixteen(x: &[i16], rate: u32) -> Vec<i16> {
    let Some(mut resampler) = Resampler::new(rate, 16_000).filter(|_| rate > 16_000) else {
        return x.to_vec();
    };
    let convert = |frame: &[i16]| {
        let mut out = vec![0; frame_len(16_000)];
        resampler.process(frame, &mut out);
        out
    };
    x.chunks_exact(frame_len(rate)).flat_map(convert).collect()
}

fn write(path: &Path, x: &[i16]) {
    let bytes: Vec<u8> = x.iter().flat_map(|s| s.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn speech_quality_is_unchanged() {
    let dir = std::env::temp_dir().join(format!("branchline-quality-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut python = Command::new(python())
        .arg(script("tests/peers/pesq_scores.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows = Vec::new();
    let mut asked = python.stdin.take().unwrap();
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for (loss, jitter, drift) in [0, 3, 10]
            .iter()
            .flat_map(|l| [0, 40, 100].iter().flat_map(move |j| [0, DRIFT].iter().map(move |d| (*l, *j, *d))))
        {
            let o = travel(codec, Weather { loss, jitter, drift }, 1, 7);
            let rate = codec.sample_rate();
            let (said, heard) = (at_sixteen(&o.said, rate), at_sixteen(&o.heard, rate));
            let name = format!("{}-{loss}-{jitter}-{drift}", codec.name());
            let (clean, got) = (dir.join(format!("{name}.said")), dir.join(format!("{name}.heard")));
            write(&clean, &said);
            write(&got, &heard);
            writeln!(asked, "{} {} {}", rate.min(16_000), clean.display(), got.display()).unwrap();
            assert!(
                o.late < 60 && o.stretched.0 + o.stretched.1 < 90,
                "{name}: {} {:?}",
                o.late,
                o.stretched
            );
            assert!((o.drift_ppm - f64::from(drift)).abs() < 800.0, "{name}: {}", o.drift_ppm);
            if drift > 0 {
                assert!(o.stretched.0 > 0, "{name}: what is too much is left out: {:?}", o.stretched);
            }
            rows.push((name, o.concealed, o.delay));
        }
    }
    drop(asked);
    let out = python.wait_with_output().unwrap();
    let scores = String::from_utf8(out.stdout).unwrap();
    assert_eq!(scores.lines().count(), rows.len(), "the scorer has failed");
    let mut text = "codec-loss%-jitter_ms-drift_ppm concealed% delay_ms pesq\n".to_owned();
    for ((name, concealed, delay), score) in rows.iter().zip(scores.lines()) {
        writeln!(text, "{name} {concealed:.2} {delay:.1} {score}").unwrap();
    }
    println!("{text}");
    let path = script("tests/peers/quality.snapshot");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    compare(&std::fs::read_to_string(&path).unwrap(), &text);
}

fn compare(kept: &str, now: &str) {
    assert_eq!(kept.lines().count(), now.lines().count());
    for (old, new) in kept.lines().zip(now.lines()).skip(1) {
        let fields = |line: &str| -> (String, Vec<f64>) {
            let mut all = line.split(' ').map(str::to_owned);
            (all.next().unwrap(), all.map(|f| f.parse().unwrap()).collect())
        };
        let ((name, a), (other, b)) = (fields(old), fields(new));
        assert_eq!(name, other);
        for ((a, b), most) in a.iter().zip(&b).zip([SHARE, DELAY, SCORE]) {
            assert!((a - b).abs() <= most, "kept: {old}; now: {new} (BLESS=1 keeps it anew)");
        }
    }
}
