//! A call leg: one owner, one end.

use std::collections::BTreeMap;
use std::time::Instant;

use super::change::Change;
use super::described::Described;
use super::digits::Keys;
use super::digits_out::InfoDigits;
use super::early::EarlyDialogs;
use super::leg_view::LegView;
use super::legs::LegMedia;
use super::referred::Referral;
use super::reliable::{Early, Reliable};
use super::requests::ClientAuth;
use super::subscription::Subscribed;
use super::takeover::Predecessor;
use super::transfer::Transfer;
use super::trunks::TrunkId;
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::codec::{Codec, opus};
use crate::media::amd::Parameters;
use crate::sdp::{Description, Local, Negotiated};
use crate::sip::dialog::Dialog;
use crate::sip::session_timer::SessionTimer;
use crate::sip::target::Target;
use crate::sip::transactions::{ClientId, ServerId};

pub use super::leg_id::{Kind, LegId};

/// How far the signalling of a leg is; each phase owns what is valid in it.
#[derive(Debug)]
pub enum Phase {
    /// Outbound: the INVITE is on its way.
    Inviting(Box<Inviting>),
    /// Inbound: nothing final has been answered.
    Ringing {
        /// The INVITE.
        tx: ServerId,
        /// Its offer, if it had one.
        offer: Option<Box<Description>>,
    },
    /// Inbound: the 200 is out, the ACK is not in.
    Answered {
        /// The INVITE.
        tx: ServerId,
        /// The dialog.
        dialog: Box<Dialog>,
    },
    /// Connected.
    Up {
        /// The dialog.
        dialog: Box<Dialog>,
    },
    /// Over; waits for its media to report before the last event.
    Ending {
        /// Why it ended.
        reason: String,
        /// When it ended.
        at: Instant,
        /// The last event goes out then, whatever has or has not been reported.
        latest: Instant,
    },
}

/// An outbound leg's INVITE.
#[derive(Debug)]
pub struct Inviting {
    /// The transaction; `None` while a name is looked up.
    pub tx: Option<ClientId>,
    /// Where it was sent on.
    pub redirections: super::redirections::Redirections,
    /// Times that a longer session was asked for.
    pub lengthened: u8,
    /// Further INVITEs, where several phones ring.
    pub branches: Vec<ClientId>,
    /// It goes to phones the way they registered; so does what follows.
    pub pinned: bool,
    /// Servers not tried yet.
    pub others: super::failover::Others,
    /// What every attempt sends: From, To, Call-ID and the rest but for Request-URI and CSeq.
    pub request: super::call_out::OutRequest,
    /// CSeq number of the last attempt.
    pub cseq: u32,
    /// Early dialogs in which provisional responses were acknowledged.
    pub early: Vec<Early>,
    /// Early dialogs, acknowledged or not, with their answers.
    pub dialogs: EarlyDialogs,
}

/// A call leg.
#[derive(Debug)]
pub struct Leg {
    /// UUID, as the API and events name it.
    pub id: String,
    /// Which end placed the call.
    pub kind: Kind,
    /// Signalling.
    pub phase: Phase,
    /// On whose account it is.
    pub standing: Standing,
    /// Media was set up before the answer.
    pub early: bool,
    /// `leg.connected` has been published.
    pub connected: bool,
    /// On hold, by either end, as it was published.
    pub held: bool,
    /// We have put the far end on hold.
    pub on_hold: bool,
    /// A hold, by whichever end, that ends the call then.
    pub hold_until: Option<Instant>,
    /// A hold or resume of ours that is not done.
    pub change: Option<Box<Change>>,
    /// Its media.
    pub media: LegMedia,
    /// It takes digits that others of its room send.
    pub accept_dtmf: bool,
    /// Provisional responses that want a PRACK.
    pub reliable: Option<Box<Reliable>>,
    /// The session ends unless it is refreshed.
    pub timer: Option<SessionTimer>,
    /// Shortest session that anybody on the way takes, seconds (`Min-SE`); 0: nobody has said so.
    pub min_session: u32,
    /// Its far end takes UPDATE.
    pub knows_update: bool,
    /// Credentials for who challenges its requests.
    pub auth: Option<Box<ClientAuth>>,
    /// The trunk it goes through.
    pub trunk: Option<TrunkId>,
    /// The user of ours at its far end: who called us by its password or from its phone, or whose phones we called.
    pub user: Option<String>,
    /// A transfer that we have asked for.
    pub transfer: Option<Transfer>,
    /// Our subscriptions to what becomes of transfers.
    pub subscribed: Subscribed,
    /// A REFER has come in its dialog.
    pub was_referred: bool,
    /// It was called because another leg is being transferred.
    pub referral: Option<Referral>,
    /// Its far end talks to somebody else now.
    pub transferred: bool,
    /// The final response that refused its INVITE.
    pub refusal: Option<(u16, String)>,
    /// The leg whose place it takes once it is connected.
    pub replaces: Option<Predecessor>,
    /// X- headers of the INVITE.
    pub sip_headers: Vec<(String, String)>,
    /// There were more, or longer ones, than are kept.
    pub sip_headers_truncated: bool,
    /// When it came into being.
    pub created: Now,
    /// When it was answered.
    pub answered: Option<Instant>,
    /// Digits received so far.
    pub digits: u64,
    /// Digits that may come a second time another way.
    pub keys: Keys,
    /// Digits that go out by INFO.
    pub info_digits: InfoDigits,
    /// Answering-machine detection that begins when it is connected.
    pub amd: Option<Parameters>,
    /// Codecs it may use, best first.
    pub codecs: Vec<Codec>,
    /// Our side of its session description.
    pub local: Option<Local>,
    /// What the far end has been told of our side.
    pub described: Described,
    /// What is agreed.
    pub stream: Option<Negotiated>,
    /// An offer of ours in a 2xx waits for its answer in the ACK with this CSeq.
    pub offer_in_ack: Option<u32>,
    /// A re-INVITE of this transaction waits for its ACK.
    pub reinvite: Option<ServerId>,
    /// The connection or address its dialog came along.
    pub flow: Option<Target>,
    /// It ends then if it is not answered.
    pub ring_until: Option<Instant>,
    /// Longest time from the answer on, seconds; 0: no limit.
    pub max_duration: u32,
    /// It ends then whatever happens.
    pub max_until: Option<Instant>,
}

impl Leg {
    /// A leg with nothing but its name.
    #[must_use]
    pub fn new(id: String, kind: Kind, phase: Phase, now: Now) -> Self {
        Self {
            id,
            kind,
            phase,
            standing: Standing::Own,
            early: false,
            connected: false,
            held: false,
            on_hold: false,
            hold_until: None,
            min_session: 0,
            change: None,
            media: LegMedia::default(),
            accept_dtmf: true,
            reliable: None,
            timer: None,
            knows_update: false,
            auth: None,
            trunk: None,
            user: None,
            transfer: None,
            subscribed: Subscribed::default(),
            was_referred: false,
            referral: None,
            transferred: false,
            refusal: None,
            replaces: None,
            sip_headers: Vec::new(),
            sip_headers_truncated: false,
            created: now,
            answered: None,
            digits: 0,
            keys: Keys::default(),
            info_digits: InfoDigits::default(),
            codecs: Vec::new(),
            local: None,
            described: Described::default(),
            stream: None,
            offer_in_ack: None,
            reinvite: None,
            flow: None,
            ring_until: None,
            max_duration: 0,
            max_until: None,
            amd: None,
        }
    }

    /// The leg as the API shows it, in this room.
    #[must_use]
    pub fn view(&self, room: Option<&str>) -> LegView {
        LegView {
            id: self.id.clone(),
            kind: self.kind.as_str(),
            state: self.state(),
            room_id: room.map(str::to_owned),
            muted: self.media.is_muted(),
            deaf: self.media.is_deaf(),
            accept_dtmf: self.accept_dtmf,
            held: self.held && self.connected,
            sip_headers: match self.kind {
                Kind::SipInbound => self.sip_headers.iter().cloned().collect(),
                Kind::SipOutbound => BTreeMap::new(),
            },
        }
    }

    /// The state as the API shows it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Ending { .. } => "hung_up",
            Phase::Up { .. } if self.held => "held",
            Phase::Up { .. } => "connected",
            Phase::Inviting(_) | Phase::Ringing { .. } | Phase::Answered { .. } if self.early => {
                "early_media"
            }
            Phase::Inviting(_) | Phase::Ringing { .. } | Phase::Answered { .. } => "ringing",
        }
    }

    /// Over; its last event may still be to come.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// The dialog, once there is one.
    #[must_use]
    pub fn dialog(&self) -> Option<&Dialog> {
        match &self.phase {
            Phase::Answered { dialog, .. } | Phase::Up { dialog } => Some(dialog),
            Phase::Inviting(_) | Phase::Ringing { .. } | Phase::Ending { .. } => None,
        }
    }

    /// The dialog, once there is one.
    pub fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match &mut self.phase {
            Phase::Answered { dialog, .. } | Phase::Up { dialog } => Some(dialog),
            Phase::Inviting(_) | Phase::Ringing { .. } | Phase::Ending { .. } => None,
        }
    }

    /// The next moment something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Ending { latest, .. } => Some(*latest),
            Phase::Inviting(_) | Phase::Ringing { .. } | Phase::Answered { .. } | Phase::Up { .. } => {
                let change = self.change.as_ref().map(|c| c.deadline());
                let transfer = self.transfer.as_ref().map(|t| t.deadline());
                let session = self.timer.map(|t| t.deadline());
                let own = [self.ring_until, self.max_until, self.hold_until, self.info_digits.deadline()];
                let ringing = matches!(self.phase, Phase::Ringing { .. });
                let reliable = self.reliable.as_ref().filter(|_| ringing).and_then(|r| r.deadline());
                let server =
                    if let Phase::Inviting(inviting) = &self.phase { inviting.others.at } else { None };
                let told = self.referral.as_ref().and_then(|r| r.subscription.deadline());
                own.into_iter().chain([change, transfer, session, reliable, server, told]).flatten().min()
            }
        }
    }

    /// It uses Opus, or the far end may still choose it: any of its phones, while none has answered. Who began with Opus keeps
    /// its sampling rate, and with it the place, until the call ends.
    pub(super) fn holds_opus(&self) -> bool {
        let offered = self.codecs.contains(&Codec::Opus);
        match (&self.phase, &self.stream) {
            (Phase::Inviting(_), _) | (Phase::Answered { .. } | Phase::Up { .. }, None) => offered,
            (_, Some(agreed)) => {
                self.media.rate() == opus::RATE || agreed.formats.codecs().any(|c| c == Codec::Opus)
            }
            (Phase::Ringing { .. } | Phase::Ending { .. }, None) => false,
        }
    }

    /// What an offer of ours inside the call may have in it: no Opus where it is not in use, as another may take the last place
    /// before the answer comes.
    pub(super) fn codecs_to_offer_again(&self) -> Vec<Codec> {
        let holds = self.holds_opus();
        self.codecs.iter().filter(|c| holds || **c != Codec::Opus).copied().collect()
    }
}
