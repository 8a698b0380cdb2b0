//! Reads a WAV file as one channel at a wanted rate, a piece at a time.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec};
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, WindowFunction};

/// Input frames converted at a time.
const CHUNK: usize = 1024;

/// A WAV file being read.
pub struct WavSource {
    reader: WavReader<BufReader<File>>,
    spec: WavSpec,
    resampler: Option<Async<f32>>,
}

impl WavSource {
    /// Opens a file whose sound is wanted at `rate` Hz.
    ///
    /// # Errors
    /// Not a WAV file, or one of a kind that cannot be played.
    pub fn open(path: &Path, rate: u32) -> Result<Self, String> {
        let reader = WavReader::open(path).map_err(|e| format!("not a playable WAV file: {e}"))?;
        let spec = reader.spec();
        if !(8000..=192_000).contains(&spec.sample_rate) {
            return Err(format!("a sampling rate of {} Hz; 8000 to 192000 are played", spec.sample_rate));
        }
        if !(1..=2).contains(&spec.channels) {
            return Err(format!("{} channels; one or two are played", spec.channels));
        }
        let resampler =
            if spec.sample_rate == rate { None } else { Some(converter(spec.sample_rate, rate)?) };
        Ok(Self { reader, spec, resampler })
    }

    /// Goes back to the beginning.
    ///
    /// # Errors
    /// The file can no longer be read.
    pub fn rewind(&mut self) -> Result<(), String> {
        self.reader.seek(0).map_err(|e| e.to_string())
    }

    /// The next piece; empty at the end.
    ///
    /// # Errors
    /// The file is cut short or damaged.
    pub fn read(&mut self) -> Result<Vec<i16>, String> {
        let mut frames = self.frames()?;
        let Some(resampler) = &mut self.resampler else {
            return Ok(frames.into_iter().map(sample).collect());
        };
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let heard = frames.len();
        frames.resize(CHUNK, 0.0);
        let input = InterleavedOwned::new_from(frames, 1, CHUNK).map_err(|e| e.to_string())?;
        let out = resampler.process(&input, None).map_err(|e| e.to_string())?.take_data();
        // The last piece is padded with silence: only its own share of the output is sound.
        let keep = if heard < CHUNK { out.len() * heard / CHUNK } else { out.len() };
        Ok(out.into_iter().take(keep).map(sample).collect())
    }

    /// Up to [`CHUNK`] frames as one channel, −1 to 1.
    fn frames(&mut self) -> Result<Vec<f32>, String> {
        let wanted = CHUNK * usize::from(self.spec.channels);
        let scale = match self.spec.bits_per_sample {
            bits @ 1..=32 => 1.0 / (1u64 << (bits - 1)) as f32,
            other => return Err(format!("{other} bits a sample are not played")),
        };
        let all: Result<Vec<f32>, hound::Error> = match self.spec.sample_format {
            SampleFormat::Float => self.reader.samples::<f32>().take(wanted).collect(),
            SampleFormat::Int => {
                self.reader.samples::<i32>().take(wanted).map(|s| s.map(|v| v as f32 * scale)).collect()
            }
        };
        let all = all.map_err(|e| format!("the WAV file is damaged: {e}"))?;
        let per_frame = f32::from(self.spec.channels);
        let mix = |frame: &[f32]| frame.iter().sum::<f32>() / per_frame;
        Ok(all.chunks(usize::from(self.spec.channels)).map(mix).collect())
    }
}

fn converter(from: u32, to: u32) -> Result<Async<f32>, String> {
    let parameters = SincInterpolationParameters::new(128, WindowFunction::Blackman2);
    let ratio = f64::from(to) / f64::from(from);
    Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input).map_err(|e| e.to_string())
}

fn sample(v: f32) -> i16 {
    (v * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, channels: u16, bits: u16, format: SampleFormat) -> std::path::PathBuf {
        let name = format!("branchline-wav-{}-{rate}-{channels}-{bits}.wav", std::process::id());
        let path = std::env::temp_dir().join(name);
        let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: format };
        let mut w = hound::WavWriter::create(&path, spec).unwrap();
        for i in 0..rate {
            let v = (f64::from(i) * 440.0 * 2.0 * std::f64::consts::PI / f64::from(rate)).sin() * 0.5;
            for _ in 0..channels {
                match format {
                    SampleFormat::Float => w.write_sample(v as f32).unwrap(),
                    SampleFormat::Int => {
                        w.write_sample((v * f64::from((1 << (bits - 1)) - 1)) as i32).unwrap()
                    }
                }
            }
        }
        w.finalize().unwrap();
        path
    }

    #[test]
    fn every_kind_comes_out_as_the_same_tone() {
        for (rate, channels, bits, format) in [
            (8000, 1, 16, SampleFormat::Int),
            (16_000, 2, 16, SampleFormat::Int),
            (44_100, 2, 24, SampleFormat::Int),
            (48_000, 1, 32, SampleFormat::Float),
            (11_025, 1, 8, SampleFormat::Int),
        ] {
            let path = tone(rate, channels, bits, format);
            let mut source = WavSource::open(&path, 8000).unwrap();
            let mut all = Vec::new();
            loop {
                let piece = source.read().unwrap();
                if piece.is_empty() {
                    break;
                }
                all.extend(piece);
            }
            assert!((7900..=8100).contains(&all.len()), "{rate}: {}", all.len());
            let middle = &all[2000..6000];
            let crossings = middle.windows(2).filter(|w| (w[0] < 0) != (w[1] < 0)).count();
            assert!((438..=442).contains(&crossings), "{rate}: {crossings}");
            let rms = (middle.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 4000.0).sqrt();
            assert!((rms / 11_585.0 - 1.0).abs() < 0.03, "{rate}: {rms}");
            source.rewind().unwrap();
            assert!(!source.read().unwrap().is_empty());
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn other_files_say_why() {
        let path = std::env::temp_dir().join(format!("branchline-wav-{}-bad", std::process::id()));
        std::fs::write(&path, b"<html>not found</html>").unwrap();
        assert!(WavSource::open(&path, 8000).err().unwrap().contains("not a playable WAV"));
        std::fs::remove_file(path).unwrap();
    }
}
