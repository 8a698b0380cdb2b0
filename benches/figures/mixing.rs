//! Cost of mixing relative to copying the same frames.

use std::hint::black_box;
use std::time::Instant;

use branchline::media::room::Room;

use crate::median;

pub fn report() {
    println!("mixing per party over copying the same frames: {:.2}", mixing());
}

/// Sum and mix-minus for 32 parties at 16 kHz, relative to copying their frames.
fn mixing() -> f64 {
    let frames: Vec<[i16; 320]> = (0..32).map(|n| [n * 31; 320]).collect();
    let mut outs = vec![[0i16; 320]; 32];
    let mut room = Room::new(16_000);
    let time = |f: &mut dyn FnMut()| {
        let begin = Instant::now();
        for _ in 0..20_000 {
            f();
        }
        begin.elapsed().as_secs_f64()
    };
    let mut ratios = Vec::new();
    for _ in 0..7 {
        let copy = time(&mut || {
            for (f, o) in frames.iter().zip(&mut outs) {
                o.copy_from_slice(black_box(f));
            }
            black_box(&outs);
        });
        let mix = time(&mut || {
            room.begin();
            frames.as_chunks().0.iter().for_each(|[a, b]| room.add_pair(black_box(a), black_box(b)));
            room.settle();
            for (f, o) in frames.iter().zip(&mut outs) {
                room.heard(Some(f), o);
            }
            black_box(&outs);
        });
        ratios.push(mix / copy);
    }
    median(ratios)
}
