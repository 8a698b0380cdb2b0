//! Routes of the API that later versions bring: listed, authenticated, and answered 501 naming the feature.

use super::routes::{Answer, Op, Route, error};

const NOT_YET: &[Answer] = &[error(501, "Not in this version")];

const fn later(method: &'static str, path: &'static str, what: &'static str, summary: &'static str) -> Route {
    Route { method, path, op: Op::Later(what), summary, open: false, body: None, answers: NOT_YET }
}

const SPEECH: &str = "speech synthesis";
const RECOGNITION: &str = "speech recognition";
const AGENTS: &str = "agents";
const WEBRTC: &str = "WebRTC";

/// The routes.
pub(super) static LATER: &[Route] = &[
    later("POST", "/legs/{id}/tts", SPEECH, "Speak text on a leg"),
    later("POST", "/legs/{id}/stt", RECOGNITION, "Start speech recognition on a leg"),
    later("DELETE", "/legs/{id}/stt", RECOGNITION, "Stop speech recognition on a leg"),
    later("POST", "/legs/{id}/agent/elevenlabs", AGENTS, "Attach an ElevenLabs agent"),
    later("POST", "/legs/{id}/agent/vapi", AGENTS, "Attach a VAPI agent"),
    later("POST", "/legs/{id}/agent/pipecat", AGENTS, "Attach a Pipecat bot"),
    later("POST", "/legs/{id}/agent/deepgram", AGENTS, "Attach a Deepgram agent"),
    later("POST", "/legs/{id}/agent/message", AGENTS, "Send a message to the agent of a leg"),
    later("DELETE", "/legs/{id}/agent", AGENTS, "Detach the agent of a leg"),
    later("POST", "/legs/{id}/ice-candidates", WEBRTC, "Add a candidate of the far end"),
    later("GET", "/legs/{id}/ice-candidates", WEBRTC, "Candidates found since the last call"),
    later("POST", "/rooms/{id}/tts", SPEECH, "Speak text to a room"),
    later("POST", "/rooms/{id}/stt", RECOGNITION, "Start speech recognition of a room"),
    later("DELETE", "/rooms/{id}/stt", RECOGNITION, "Stop speech recognition of a room"),
    later("POST", "/rooms/{id}/agent/elevenlabs", AGENTS, "Let an ElevenLabs agent into a room"),
    later("POST", "/rooms/{id}/agent/vapi", AGENTS, "Let a VAPI agent into a room"),
    later("POST", "/rooms/{id}/agent/pipecat", AGENTS, "Let a Pipecat bot into a room"),
    later("POST", "/rooms/{id}/agent/deepgram", AGENTS, "Let a Deepgram agent into a room"),
    later("POST", "/rooms/{id}/agent/message", AGENTS, "Send a message to the agent of a room"),
    later("DELETE", "/rooms/{id}/agent", AGENTS, "Put the agent out of a room"),
    later("GET", "/rooms/{id}/ws", "room sockets", "Audio of a room over a WebSocket"),
    later("POST", "/webrtc/offer", WEBRTC, "Make a leg of a browser's offer"),
    later("GET", "/vsi", "event sockets", "Events and commands over a WebSocket"),
];
