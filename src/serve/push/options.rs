//! Options of a subscription: the form, one flow or all, and the maximum rate.

use std::time::Duration;

use crate::{channel::wanted::FlowWanted, limits::EVERY_MAX};
use tidecast_net::units;
use tidecast_wire::Format;

/// Form of a subscriber's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Wire {
    /// TCP: a frame with its length before it.
    Frames,
    /// TCP: a line of JSON.
    Lines,
    /// TCP: only the payloads.
    Raw,
    /// A binary WebSocket message with a frame.
    WebSocketFrames,
    /// A WebSocket message of JSON.
    WebSocketJson,
    /// A compressed WebSocket message of JSON, for clients that accept it (RFC 7692).
    WebSocketDeflated,
    /// A server-sent event.
    Sse,
    /// A Socket.IO event with one object.
    SocketIoJson,
    /// A Socket.IO event with an object and the raw payload.
    SocketIoBinary,
}

/// Options of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct SubscribeOptions {
    pub(in crate::serve) wire: Wire,
    /// One flow; otherwise all flows, or for media the one that a player follows.
    pub(in crate::serve) flow: Option<FlowWanted>,
    /// At most one packet of each flow per this interval; zero for all packets.
    pub(in crate::serve) every: Duration,
}

impl SubscribeOptions {
    /// Parses the values of `flow` and `every`.
    ///
    /// # Errors
    /// A message that states the error and the expected form.
    pub(in crate::serve) fn parse(
        wire: Wire,
        flow: Option<&str>,
        every: Option<&str>,
    ) -> Result<SubscribeOptions, String> {
        let flow = flow.map(FlowWanted::parse).transpose()?;
        let every = every.map_or(Ok(Duration::ZERO), self::every)?;
        if wire == Wire::Raw && !every.is_zero() {
            return Err("every: expected no rate with format=raw, whose payloads have no ends".to_owned());
        }
        Ok(SubscribeOptions { wire, flow, every })
    }

    /// Checks whether a channel of this format can have the flow.
    ///
    /// # Errors
    /// A message that states the expected form.
    pub(in crate::serve) fn check(&self, format: &Format) -> Result<(), String> {
        self.flow.as_ref().map_or(Ok(()), |flow| flow.check(format))
    }
}

fn every(text: &str) -> Result<Duration, String> {
    units::duration(text).ok().filter(|every| *every <= EVERY_MAX).ok_or_else(|| {
        let max = humantime::format_duration(EVERY_MAX);
        format!("every {text:?}: expected a duration from 0s to {max}, such as 1s")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_refused_with_what_would_be_right() {
        let options = SubscribeOptions::parse(Wire::Sse, Some("7"), Some("500ms")).unwrap();
        assert_eq!((options.flow.unwrap().is("7"), options.every), (true, Duration::from_millis(500)));
        assert_eq!(SubscribeOptions::parse(Wire::Raw, None, None).unwrap().every, Duration::ZERO);
        let error = |wire, flow, every| SubscribeOptions::parse(wire, flow, every).unwrap_err();
        assert!(error(Wire::Sse, Some(""), None).starts_with("flow of 0 bytes: expected a key of 1 to"));
        assert_eq!(
            error(Wire::Sse, None, Some("soon")),
            "every \"soon\": expected a duration from 0s to 1day, such as 1s"
        );
        assert!(error(Wire::Sse, None, Some("2days")).contains("expected a duration"));
        assert!(error(Wire::Raw, None, Some("1s")).starts_with("every: expected no rate"));
    }
}
