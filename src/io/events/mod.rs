//! Event pipeline: from the gateway through the outbox to webhooks.

pub mod outbox_ops;
pub mod pipeline;
pub mod upload_queue;
