//! Self-test: a measured call of the gateway to itself, through the same SIP, SRTP, mixer and recorder as any
//! call.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::endpoint::{Endpoint, Plain, PlainAsync, endpoint};
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::request::{Call, Outcome};
use super::responses::{CONFLICT, FULL, ok};
use crate::gateway::interface::owner::Owner;
use crate::gateway::interface::replies::{self, Handle};
use crate::gateway::playback::{Sound, tone};
use crate::gateway::recording::RecordingRequest;
use crate::gateway::self_test::Begun;
use crate::io::system::clock;
use crate::io::system::timer;
use crate::io::system::workers::FILES;
use crate::media::command::Quality;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "POST",
        "/self-test",
        "Place a call to the gateway itself and measure it, in at most 10 s; no event tells of it",
        &PlainAsync(|c| Box::pin(self_test(c))),
        &[ok::<SelfTestView>(), CONFLICT, FULL],
    ),
    endpoint(
        "GET",
        "/self-test",
        "What the self-test does that runs now",
        &Plain(|c| Ok(step(c))),
        &[ok::<StepView>()],
    ),
];

/// Time limit of the whole test.
const LIMIT: Duration = Duration::from_secs(10);
/// Time limit of the call set-up.
const SETUP: Duration = Duration::from_secs(3);
/// Duration of the tone.
const TONE: Duration = Duration::from_millis(2500);
/// The recordings start this long before the tone.
const BEFORE: Duration = Duration::from_millis(200);
/// Length of a tick, ms.
const TICK_MS: f64 = 20.0;

/// Limits for passing.
const MAX_LOSS_PERCENT: f64 = 1.0;
const MIN_MOS: f64 = 3.5;
const MAX_LATENCY_MS: f64 = 150.0;
const MAX_LEVEL_DB: f64 = 3.0;

/// Reply of `POST /v1/self-test`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SelfTestView {
    /// All figures are within their limits.
    pub passed: bool,
    /// Failed checks.
    pub failures: Vec<String>,
    /// From the INVITE until both legs are connected, ms; 0, like all figures, if the test was not completed.
    pub setup_ms: f64,
    /// Delay from a frame sent by one leg to its recording after reception by the other, ms: codec, SRTP,
    /// kernel, jitter buffer and mixer; null: the tone was not detected.
    pub latency_ms: Option<f64>,
    /// RTP packets lost or too late, percent.
    pub loss_percent: f64,
    /// Interarrival jitter (RFC 3550 §6.4.1), ms.
    pub jitter_ms: f64,
    /// Mean opinion score by the E-model (ITU-T G.107), 1 to 4.5.
    pub mos: f64,
    /// Level of the recorded tone relative to the sent one, dB; null: the tone was not detected.
    pub level_db: Option<f64>,
    /// Ticks of the media thread that started more than 5 ms late during the test.
    pub ticks_late: u64,
}

impl SelfTestView {
    /// A test without figures.
    fn failed(why: String) -> Self {
        Self {
            passed: false,
            failures: vec![why],
            setup_ms: 0.0,
            latency_ms: None,
            loss_percent: 0.0,
            jitter_ms: 0.0,
            mos: 0.0,
            level_db: None,
            ticks_late: 0,
        }
    }
}

/// Reply of `GET /v1/self-test`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Current step; empty: none.
    pub step: String,
}

/// `GET /v1/self-test`.
fn step(call: Call<'_>) -> Reply {
    call.object(200, StepView { step: call.app.self_test_step.get().to_owned() })
}

/// `POST /v1/self-test`.
async fn self_test(call: Call<'_>) -> Outcome {
    let app = call.app;
    let begun = app.driver.legs(|l| l.begin_self_test())?;
    let test = Test { app, begun, files: RefCell::default(), opening: Cell::default() };
    let done = timer::within(LIMIT, test.run()).await;
    drop(test);
    let view = match done {
        Some(Ok(view)) => view,
        // A failure is a result of the test; a full gateway is not.
        Some(Err(ApiError::Internal(why))) => SelfTestView::failed(why),
        None => SelfTestView::failed("it did not end within 10 s".to_owned()),
        Some(Err(e)) => return Err(e),
    };
    Ok(Reply::object(200, &app.instance_id, view))
}

/// A running test; its call and room end with it, also if the client disconnects.
struct Test<'a> {
    app: &'a App,
    begun: Begun,
    /// Its recordings, which nobody else knows, including one not started yet.
    files: RefCell<Vec<String>>,
    opening: Cell<Option<Handle>>,
}

impl Drop for Test<'_> {
    fn drop(&mut self) {
        self.app.self_test_step.set("");
        self.app.driver.legs(|l| l.end_self_test(&self.begun));
        // It may have been deleted already.
        let _deleted = self.app.driver.rooms(|r| r.delete(&self.begun.room));
        remove(self.files.take());
        if let Some(handle) = self.opening.take() {
            let driver = Rc::clone(&self.app.driver);
            self.app.driver.spawn(async move {
                if let Ok(replies::Reply::Recording(file)) = driver.reply(handle).await {
                    remove(vec![file]);
                }
            });
        }
    }
}

fn remove(files: Vec<String>) {
    let job = move || files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    if let Err(e) = FILES.submit(job) {
        log::warn!(error:% = e; "the recordings of the self-test stay");
    }
}

/// A finished recording.
struct Recorded {
    file: String,
    began: u32,
}

impl Test<'_> {
    fn say(&self, step: &'static str) {
        self.app.self_test_step.set(step);
    }

    async fn run(&self) -> Result<SelfTestView, ApiError> {
        let driver = &self.app.driver;
        let started = clock::now().mono;
        let late = || driver.pulse().late.load(std::sync::atomic::Ordering::Relaxed);
        let late_before = late();
        self.say("placing a call");
        let answerer = self.connected(started).await?;
        let setup_ms = clock::now().mono.saturating_duration_since(started).as_secs_f64() * 1000.0;

        self.say("a tone through SRTP, mixer and recorder");
        let (caller, room) = (self.begun.caller.as_str(), self.begun.room.as_str());
        driver.rooms(|r| r.create(Some(room.to_owned()), None, None))?;
        driver.rooms(|r| r.add_leg(room, &answerer, Default::default()))?.ok();
        let wanted = || RecordingRequest { upload: None, multi_channel: false };
        for owner in [Owner::Leg(caller), Owner::Room(room)] {
            let handle = driver.audio(|a| a.record(owner, wanted()))?;
            self.opening.set(Some(handle));
            if let replies::Reply::Recording(file) = driver.reply(handle).await? {
                self.files.borrow_mut().push(file);
            }
            self.opening.set(None);
        }
        timer::sleep(BEFORE).await;
        let sound = Sound::Tone(tone("us_dial")?);
        driver.audio(|a| a.play(Owner::Leg(caller), sound, 0))?;
        timer::sleep(TONE).await;
        let quality = self.quality(&answerer).await?;
        let heard = self.recorded(driver.audio(|a| a.stop_recording(Owner::Room(room)))?).await?;
        let sent = self.recorded(driver.audio(|a| a.stop_recording(Owner::Leg(caller)))?).await?;

        self.say("reading the recording");
        let measured = FILES.run(move || measure(&sent, &heard)).await;
        let measured =
            measured.map_err(|e| ApiError::Unavailable(format!("files cannot be read now: {e}")))?;
        Ok(judge(setup_ms, &quality, measured, late() - late_before))
    }

    /// The answering leg, once both are connected.
    async fn connected(&self, started: Instant) -> Result<String, ApiError> {
        loop {
            if let Some(leg) = self.app.driver.look(|view| view.self_test_answerer(&self.begun)) {
                return Ok(leg);
            }
            if clock::now().mono.saturating_duration_since(started) > SETUP {
                return Err(ApiError::Internal("the call did not come about within 3 s".to_owned()));
            }
            timer::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn quality(&self, leg: &str) -> Result<Quality, ApiError> {
        let handle = self.app.driver.legs(|l| l.ask_quality(leg))?;
        self.app.driver.reply(handle).await?.quality().ok_or_else(ApiError::mismatched_reply)
    }

    async fn recorded(&self, handle: Handle) -> Result<Recorded, ApiError> {
        if let replies::Reply::Recorded { file, began, .. } = self.app.driver.reply(handle).await? {
            Ok(Recorded { file, began })
        } else {
            Err(ApiError::mismatched_reply())
        }
    }
}

/// Comparison of two recordings of the same tone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    latency_ms: f64,
    level_db: f64,
}

/// Compares the sent audio, the right channel of a leg's recording, with the audio recorded in the room.
fn measure(sent: &Recorded, heard: &Recorded) -> Result<Measured, String> {
    let sent_tone = Tone::read(Path::new(&sent.file), 1)?;
    let heard_tone = Tone::read(Path::new(&heard.file), 0)?;
    let ticks = f64::from(heard.began.wrapping_sub(sent.began).cast_signed());
    Ok(Measured {
        latency_ms: ticks * TICK_MS + heard_tone.begins_ms - sent_tone.begins_ms,
        level_db: 20.0 * (heard_tone.level / sent_tone.level).log10(),
    })
}

/// The tone in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tone {
    /// Start time, ms.
    begins_ms: f64,
    /// Its level, measured from half a second later: root mean square of samples.
    level: f64,
}

impl Tone {
    fn read(file: &Path, channel: usize) -> Result<Self, String> {
        let mut wav = hound::WavReader::open(file).map_err(|e| format!("the recording: {e}"))?;
        let spec = wav.spec();
        let samples: Result<Vec<i16>, _> =
            wav.samples().skip(channel).step_by(usize::from(spec.channels.max(1))).collect();
        let samples = samples.map_err(|e| format!("the recording: {e}"))?;
        Self::find(&samples, spec.sample_rate).ok_or_else(|| "the tone is not in the recording".to_owned())
    }

    fn find(samples: &[i16], rate: u32) -> Option<Self> {
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().filter(|peak| *peak > 500)?;
        let begins = samples.iter().position(|s| s.unsigned_abs() > peak / 4)?;
        let second = usize::try_from(rate).ok()?;
        let steady = samples.get(begins + second / 2..begins + second * 3 / 2)?;
        let energy: f64 = steady.iter().map(|s| f64::from(*s).powi(2)).sum();
        Some(Self {
            begins_ms: begins as f64 * 1000.0 / f64::from(rate),
            level: (energy / steady.len() as f64).sqrt().max(1.0),
        })
    }
}

fn judge(setup_ms: f64, q: &Quality, measured: Result<Measured, String>, ticks_late: u64) -> SelfTestView {
    let tenths = |v: f64| (v * 10.0).round() / 10.0;
    let expected = (q.received + q.lost).max(1);
    let loss = (q.lost + q.late) as f64 * 100.0 / expected as f64;
    let mut failures = Vec::new();
    if q.received < 100 {
        failures.push(format!("{} RTP packets arrived, over 100 were sent", q.received));
    }
    if loss > MAX_LOSS_PERCENT {
        failures.push(format!("{loss:.1} % of the RTP packets were lost, {MAX_LOSS_PERCENT} % are allowed"));
    }
    if q.mos < MIN_MOS {
        failures.push(format!("the MOS is {:.2}, at least {MIN_MOS} is wanted", q.mos));
    }
    match &measured {
        Err(why) => failures.push(why.clone()),
        Ok(m) => {
            if !(0.0..=MAX_LATENCY_MS).contains(&m.latency_ms) {
                failures.push(format!(
                    "the latency is {:.0} ms, at most {MAX_LATENCY_MS} are wanted",
                    m.latency_ms
                ));
            }
            if m.level_db.abs() > MAX_LEVEL_DB {
                failures.push(format!(
                    "it is recorded {:.1} dB from what was sent, {MAX_LEVEL_DB} are allowed",
                    m.level_db
                ));
            }
        }
    }
    SelfTestView {
        passed: failures.is_empty(),
        failures,
        setup_ms: tenths(setup_ms),
        latency_ms: measured.as_ref().ok().map(|m| tenths(m.latency_ms)),
        loss_percent: (loss * 100.0).round() / 100.0,
        jitter_ms: (q.jitter_ms * 100.0).round() / 100.0,
        mos: (q.mos * 100.0).round() / 100.0,
        level_db: measured.ok().map(|m| tenths(m.level_db)),
        ticks_late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(silent: usize, amplitude: f64) -> Vec<i16> {
        let tone = |i: usize| if i < silent { 3 } else { ((i as f64 * 0.35).sin() * amplitude) as i16 };
        (0..20_000).map(tone).collect()
    }

    #[test]
    fn the_tone_is_found_where_it_begins() {
        let tone = Tone::find(&sound(1600, 8000.0), 8000).unwrap();
        assert!((tone.begins_ms - 200.0).abs() < 1.0, "{tone:?}");
        assert!((tone.level - 8000.0 / 2f64.sqrt()).abs() < 60.0, "{tone:?}");
        assert_eq!(Tone::find(&sound(20_000, 0.0), 8000), None, "silence");
        assert_eq!(Tone::find(&sound(19_000, 8000.0), 8000), None, "too short");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = Quality { received: 150, mos: 4.4, ..Quality::default() };
        let measured = Measured { latency_ms: 41.0, level_db: -0.2 };
        let view = judge(5.0, &good, Ok(measured), 0);
        assert!(view.passed && view.latency_ms == Some(41.0), "{view:?}");
        let bad = Quality { received: 90, lost: 10, late: 5, mos: 2.0, ..Quality::default() };
        let slow = Measured { latency_ms: 300.0, level_db: -9.0 };
        let view = judge(5.0, &bad, Ok(slow), 3);
        assert_eq!((view.passed, view.failures.len(), view.loss_percent), (false, 5, 15.0), "{view:?}");
        let view = judge(5.0, &good, Err("the tone is not in the recording".to_owned()), 0);
        assert_eq!(view.failures, ["the tone is not in the recording"]);
    }
}
