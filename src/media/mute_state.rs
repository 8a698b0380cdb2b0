//! Whether the others of a room hear a party, and whether it hears them: mute, hold and deaf, with fades of one frame
//! where a party becomes audible or inaudible, since a step would click.

/// What a party is allowed to be heard of and to hear.
#[derive(Debug, Clone, Copy)]
pub(super) struct MuteState {
    /// Others do not hear it.
    pub(super) muted: bool,
    /// On hold by our side: it neither hears its room nor is heard there.
    pub(super) held: bool,
    /// It hears neither its room nor what is played to it.
    pub(super) deaf: bool,
    /// Whether it was audible in the last tick, and is in this one.
    audible: (bool, bool),
}

impl MuteState {
    /// At the beginning.
    pub(super) fn new(muted: bool, deaf: bool) -> Self {
        Self { muted, held: false, deaf, audible: (!muted, !muted) }
    }

    /// Begins a tick.
    pub(super) fn begin_tick(&mut self) {
        self.audible = (self.audible.1, !self.muted && !self.held);
    }

    /// It comes into a room: it fades in, and nothing of it is heard there if it is muted.
    pub(super) fn enter_room(&mut self) {
        self.audible.1 = false;
    }

    /// True when others hear nothing of it in this tick.
    pub(super) fn is_inaudible(&self) -> bool {
        self.audible == (false, false)
    }

    /// True when others hear it in this tick as it is, without a fade.
    pub(super) fn is_audible(&self) -> bool {
        self.audible == (true, true)
    }

    /// True when it hears its room.
    pub(super) fn hears_room(&self) -> bool {
        !self.deaf && !self.held
    }

    /// Fades a frame of it in or out where this tick begins or ends its being audible.
    pub(super) fn fade(&self, frame: &mut [i16]) {
        let n = frame.len().max(1) as i32;
        if self.audible.0 == self.audible.1 {
            return;
        }
        for (i, s) in (0i32..).zip(frame) {
            let gain = if self.audible.1 { i } else { n - i };
            *s = (i32::from(*s) * gain / n) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_fades_over_one_frame_either_way() {
        let mut m = MuteState::new(false, false);
        m.begin_tick();
        assert!(m.is_audible());
        m.muted = true;
        m.begin_tick();
        let mut frame = [1000i16; 4];
        m.fade(&mut frame);
        assert_eq!((frame, m.is_audible(), m.is_inaudible()), ([1000, 750, 500, 250], false, false));
        m.begin_tick();
        assert!(m.is_inaudible());
        m.muted = false;
        m.begin_tick();
        let mut frame = [1000i16; 4];
        m.fade(&mut frame);
        assert_eq!(frame, [0, 250, 500, 750]);
    }
}
