//! A memoryless limiter: linear up to −2.5 dBFS, then soft, so that nothing wraps or clips hard.

/// Magnitude above which samples are compressed.
pub const KNEE: i32 = 24_576;
const ROOM: i32 = 32_767 - KNEE;

/// Limits a sum to 16 bits.
#[must_use]
pub fn soft(sum: i32) -> i16 {
    let magnitude = sum.saturating_abs();
    if magnitude <= KNEE {
        return sum as i16;
    }
    // x/(x+1) of the excess: slope 1 at the knee, never full scale.
    let over = i64::from(magnitude - KNEE);
    let bent = KNEE + (over * i64::from(ROOM) / (over + i64::from(ROOM))) as i32;
    (if sum < 0 { -bent } else { bent }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_straight_then_bent_and_never_wraps() {
        assert_eq!((soft(0), soft(24_576), soft(-24_576)), (0, 24_576, -24_576));
        let mut before = -32_768;
        for sum in (-2_000_000..2_000_000).step_by(97) {
            let now = i32::from(soft(sum));
            assert!(now >= before && now.abs() <= 32_767, "{sum}: {before} {now}");
            before = now;
        }
        assert_eq!((soft(i32::MAX), soft(i32::MIN)), (soft(i32::MAX), -soft(i32::MAX)));
        assert!(soft(i32::MAX) > 32_700);
    }
}
