//! Events for API clients: typed bodies, numbering and routing.

mod event;
mod event_type;
mod leg;
mod media;
mod publisher;
mod quality;
mod registration;
mod text;

pub use event::{Event, Webhook};
pub use event_type::{EVENT_TYPES, EventBody, EventType};
pub use leg::*;
pub use media::*;
pub use publisher::{About, Publisher, Subject};
pub use quality::QualityReport;
pub use registration::*;
pub use text::Text;
