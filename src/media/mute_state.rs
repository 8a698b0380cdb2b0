//! Mute, hold and deaf state of a party, with fades over one frame where it becomes audible or inaudible, to
//! avoid clicks.

/// Whether a party is heard by others and hears them.
#[derive(Debug, Clone, Copy)]
pub(super) struct MuteState {
    /// Other members do not hear it.
    pub(super) muted: bool,
    /// Local hold: it neither hears its room nor is heard there.
    pub(super) held: bool,
    /// It hears neither its room nor playbacks.
    pub(super) deaf: bool,
    /// Audible in the last tick, and in this one.
    audible: (bool, bool),
}

impl MuteState {
    /// The initial state.
    pub(super) fn new(muted: bool, deaf: bool) -> Self {
        Self { muted, held: false, deaf, audible: (!muted, !muted) }
    }

    /// Begins a tick.
    pub(super) fn begin_tick(&mut self) {
        self.audible = (self.audible.1, !self.muted && !self.held);
    }

    /// It joins a room: it fades in, unless muted.
    pub(super) fn enter_room(&mut self) {
        self.audible.1 = false;
    }

    /// True if others do not hear it in this tick.
    pub(super) fn is_inaudible(&self) -> bool {
        self.audible == (false, false)
    }

    /// True if others hear it in this tick without a fade.
    pub(super) fn is_audible(&self) -> bool {
        self.audible == (true, true)
    }

    /// True when it hears its room.
    pub(super) fn hears_room(&self) -> bool {
        !self.deaf && !self.held
    }

    /// Fades its frame in or out if audibility changes in this tick.
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
