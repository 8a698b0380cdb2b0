//! Read-only view of the gateway.

use crate::gateway::accounts::Accounts;
use crate::gateway::admission::Sources;
use crate::gateway::audio::Audio;
use crate::gateway::calls::Calls;
use crate::gateway::context::Context;
use crate::gateway::interface::counters::Numbers;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::Owner;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::legs::leg_view::LegView;
use crate::gateway::registrar::BindingView;
use crate::gateway::rooms::RoomView;
use crate::gateway::self_test::Begun;
use crate::gateway::trunks::Trunks;

/// Read-only queries.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(in crate::gateway) ctx: &'a Context,
    pub(in crate::gateway) calls: &'a Calls,
    pub(in crate::gateway) accounts: &'a Accounts,
    pub(in crate::gateway) audio: &'a Audio,
}

impl<'a> View<'a> {
    /// Classification of message sources.
    #[must_use]
    pub fn sources(&self) -> Sources<'a> {
        Sources::new(self.ctx, self.accounts, self.calls.legs())
    }

    /// `GET /legs/{id}`.
    ///
    /// # Errors
    /// No such leg.
    pub fn leg(&self, name: &str) -> Result<LegView, GatewayError> {
        let (id, leg) = self.calls.legs().by_name(name)?;
        Ok(leg.view(self.audio.rooms().of_leg(id)))
    }

    /// All legs that have not ended.
    #[must_use]
    pub fn legs(&self) -> Vec<LegView> {
        let live = self.calls.legs().iter().filter(|(_, l)| !l.is_ending());
        live.map(|(id, l)| l.view(self.audio.rooms().of_leg(id))).collect()
    }

    /// `GET /rooms/{id}`.
    ///
    /// # Errors
    /// No such room.
    pub fn room(&self, id: &str) -> Result<RoomView, GatewayError> {
        self.audio.rooms().view(self.calls.legs(), id)
    }

    /// `GET /rooms`.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomView> {
        self.audio.rooms().names().filter_map(|id| self.room(id).ok()).collect()
    }

    /// The trunks.
    #[must_use]
    pub fn trunks(&self) -> &'a Trunks {
        self.accounts.trunks()
    }

    /// `GET /v1/sip/registrations`.
    #[must_use]
    pub fn registrations(&self) -> Vec<BindingView> {
        self.accounts.registrar().views(self.ctx)
    }

    /// Contacts of phones that are registered.
    #[must_use]
    pub fn registered_contacts(&self) -> usize {
        self.accounts.registrar().contacts()
    }

    /// File of the running recording there, if it is multi-channel.
    #[must_use]
    pub fn multi_channel_recording(&self, owner: Owner<'_>) -> Option<String> {
        let target = self.audio.target_of(self.calls.legs(), owner)?;
        self.audio.recordings().multi_channel_file(target)
    }

    /// The answering leg of the self-test, once both are connected.
    #[must_use]
    pub fn self_test_answerer(&self, begun: &Begun) -> Option<String> {
        let legs = self.calls.legs();
        let connected =
            |id: LegId| legs.get(id).is_some_and(|l| l.call().is_up() && l.media().slot().is_some());
        let mut both =
            legs.live().filter(|(name, id)| self.calls.self_tests().covers(name) && connected(*id));
        let calls = |name: &str| name == begun.caller;
        let answerer = both.clone().find(|(name, _)| !calls(name))?;
        both.any(|(name, _)| calls(name)).then(|| answerer.0.to_owned())
    }

    /// True once the gateway is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.ctx.stopping
    }

    /// True without calls.
    #[must_use]
    pub fn is_without_calls(&self) -> bool {
        self.calls.legs().live_count() == 0
    }

    /// Figures for `/metrics` and `/v1/capacity`.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let (ctx, legs) = (self.ctx, self.calls.legs());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Numbers {
            legs: count(legs.live_count()),
            opus: ctx.opus.used(),
            media: legs.slots_used(),
            rooms: count(self.audio.rooms().count()),
            playbacks: self.audio.playbacks().used(),
            recordings: self.audio.recordings().used(),
            ports: count(legs.iter().filter(|(_, l)| l.holds_port()).count()),
            transactions: ctx.sip.len(),
            timers: legs.timers() + ctx.sip.timers(),
            transaction_bytes: ctx.sip.pools().1.used(),
            sip: ctx.sip.counters().clone(),
            counters: ctx.counters.clone(),
        }
    }
}
