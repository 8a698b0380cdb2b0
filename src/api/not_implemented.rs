//! Endpoints planned for later versions: authenticated, and answered with 501 and the name of the feature.

use super::endpoint::{Access, Action, Endpoint};
use super::responses::{Answer, error};

const NOT_YET: &[Answer] = &[error(501, "Not in this version")];

const fn endpoint(
    method: &'static str,
    path: &'static str,
    feature: &'static str,
    summary: &'static str,
) -> Endpoint {
    let action = Action::NotImplemented(feature);
    Endpoint { method, path, summary, access: Access::Token, action, answers: NOT_YET, query: &[] }
}

const SPEECH: &str = "speech synthesis";
const RECOGNITION: &str = "speech recognition";
const AGENTS: &str = "agents";
const WEBRTC: &str = "WebRTC";

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint("POST", "/legs/{id}/tts", SPEECH, "Speak text on a leg"),
    endpoint("POST", "/legs/{id}/stt", RECOGNITION, "Start speech recognition on a leg"),
    endpoint("DELETE", "/legs/{id}/stt", RECOGNITION, "Stop speech recognition on a leg"),
    endpoint("POST", "/legs/{id}/agent/elevenlabs", AGENTS, "Attach an ElevenLabs agent"),
    endpoint("POST", "/legs/{id}/agent/vapi", AGENTS, "Attach a VAPI agent"),
    endpoint("POST", "/legs/{id}/agent/pipecat", AGENTS, "Attach a Pipecat bot"),
    endpoint("POST", "/legs/{id}/agent/deepgram", AGENTS, "Attach a Deepgram agent"),
    endpoint("POST", "/legs/{id}/agent/message", AGENTS, "Send a message to the agent of a leg"),
    endpoint("DELETE", "/legs/{id}/agent", AGENTS, "Detach the agent of a leg"),
    endpoint("POST", "/legs/{id}/ice-candidates", WEBRTC, "Add a candidate of the far end"),
    endpoint("GET", "/legs/{id}/ice-candidates", WEBRTC, "Candidates found since the last call"),
    endpoint("POST", "/rooms/{id}/tts", SPEECH, "Speak text to a room"),
    endpoint("POST", "/rooms/{id}/stt", RECOGNITION, "Start speech recognition of a room"),
    endpoint("DELETE", "/rooms/{id}/stt", RECOGNITION, "Stop speech recognition of a room"),
    endpoint("POST", "/rooms/{id}/agent/elevenlabs", AGENTS, "Attach an ElevenLabs agent to a room"),
    endpoint("POST", "/rooms/{id}/agent/vapi", AGENTS, "Attach a VAPI agent to a room"),
    endpoint("POST", "/rooms/{id}/agent/pipecat", AGENTS, "Attach a Pipecat bot to a room"),
    endpoint("POST", "/rooms/{id}/agent/deepgram", AGENTS, "Attach a Deepgram agent to a room"),
    endpoint("POST", "/rooms/{id}/agent/message", AGENTS, "Send a message to the agent of a room"),
    endpoint("DELETE", "/rooms/{id}/agent", AGENTS, "Remove the agent from a room"),
    endpoint("GET", "/rooms/{id}/ws", "room sockets", "Audio of a room over a WebSocket"),
    endpoint("POST", "/webrtc/offer", WEBRTC, "Create a leg from a browser's offer"),
    endpoint("GET", "/vsi", "event sockets", "Events and commands over a WebSocket"),
];
