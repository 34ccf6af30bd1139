//! Explains why datagrams are refused, and what to do: from the reasons that the packet path
//! counts, and from examples. A reason without an explanation is given by name.

use std::collections::BTreeMap;

use crate::channel::state::ChannelState;
use tidecast_core::relay::Refused;
use tidecast_net::address::{Input, Scheme};
use tidecast_wire::Looks;

/// Reason for discarded datagrams without a recorded one: unconfirmed numbers, or numbers beyond a
/// limit.
pub(super) const UNCONFIRMED: &str = "unconfirmed";

/// Cause and remedy of one reason. `path`: URL path of the channel.
pub(super) fn explain(reason: &str, state: &ChannelState, path: &str) -> String {
    let example = state.refused.get(reason);
    match reason {
        _ if example.is_some_and(|example| example.beside) => from(
            "they come to the ports beside the media's and are neither repair packets nor RTCP: another stream has such a port, or \
             `fec` and the scheme of the input do not fit the sender",
            example,
        ),
        "format" => format(state, path, example),
        "match" => from(
            "a `match` of the channel's format does not hold: other datagrams come to the same group, or the layout is wrong",
            example,
        ),
        "truncated" => damaged("they are shorter than the format needs: ", state, example),
        "checksum" => damaged("", state, example),
        "padding" => damaged("their RTP padding is longer than they are: ", state, example),
        "version" => from("they are native datagrams of another version: update this relay or their sender", example),
        "kind" => from("they are of a kind that this version does not know: update this relay or their sender", example),
        "rtcp" => from("this is RTCP: let the sender send it to the port above the media's", example),
        "payload_type" => from(
            "other payload types come among the transport stream, such as FEC on the media's own port, which nothing uses: let the \
             sender send FEC to the port + 2 and + 4 (ST 2022-1), or leave it out",
            example,
        ),
        "payload" => from(
            "packets without a transport stream come among it: keep-alives, or another stream with the same SSRC",
            example,
        ),
        "unsealed" => from(
            "they are not sealed, and the channel takes sealed datagrams alone: give their sender a key, or look who sends",
            example,
        ),
        "unknown_key" => from(
            "they are sealed with a key whose id is not among the channel's `seal_keys`: add that key, or give the sender another one",
            example,
        ),
        "forged" => from(
            "their tag does not fit: somebody without the key sends, or the sender has another key with the same id",
            example,
        ),
        "replayed" => from(
            "they were sent before: somebody records and sends again, a session is older than the last one of its stream because \
             the sender's clock was set back, or the sender counts anew without a new session",
            example,
        ),
        "empty" => from("they are empty, which some senders use to keep a path open", example),
        "too_long" => "they are longer than a relay takes: let the sender send smaller datagrams".to_owned(),
        "collision" => from(
            "the same id comes from two addresses: give each sender an id of its own, or name the right one as SOURCE@ in the input",
            example,
        ),
        "conflict" => from(
            "numbers come again with other content: somebody sends in the name of the producer, or two producers behind one address \
             share an id; `conflicts` in /api/v1/streams says of which flow",
            example,
        ),
        "other_source" => from(
            "repair packets, heartbeats or RTCP come from another address than the media, and are not used",
            example,
        ),
        UNCONFIRMED => "their numbers contradict each other, and nothing confirms them: two senders may use one id, or `format` reads \
                        the number in the wrong place; /api/v1/streams lists each flow with its source"
            .to_owned(),
        other => from(&other.replace('_', " "), example),
    }
}

/// All reasons in one text, the most frequent first.
pub(super) fn explain_all(counts: &BTreeMap<&'static str, u64>, state: &ChannelState, path: &str) -> String {
    let mut sorted: Vec<(&str, u64)> = counts.iter().map(|(reason, count)| (*reason, *count)).collect();
    sorted.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let total: u64 = counts.values().sum();
    // Rare reasons would only make the text long.
    let told = sorted.iter().filter(|(_, count)| *count * 10 >= total);
    let texts: Vec<String> = told
        .map(|(reason, count)| format!("{count} {}: {}", words(reason), explain(reason, state, path)))
        .collect();
    texts.join("; ")
}

fn words(reason: &str) -> String {
    match reason {
        "format" => "of another format".to_owned(),
        "match" => "that do not match".to_owned(),
        "checksum" => "with a wrong checksum".to_owned(),
        "collision" => "in collision".to_owned(),
        "conflict" => "in conflict with what came before".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Another format than the channel's.
fn format(state: &ChannelState, path: &str, example: Option<&Refused>) -> String {
    let says = match state.on_demand {
        true => format!("{path} is for RTP alone"),
        false => format!("the channel's format says {}", state.format),
    };
    let input = || state.legs.first().and_then(|leg| leg.address.parse::<Input>().ok());
    let by_scheme = input().is_some_and(|input| input.scheme != Scheme::Udp);
    let other =
        path.strip_prefix("/rtp/").filter(|_| state.on_demand).map(|group| format!("ask for /udp/{group}"));
    let set = |format: &str| match (&other, by_scheme) {
        (Some(other), _) => other.clone(),
        (None, true) => format!("write udp:// in the input instead, with format = \"{format}\" or \"auto\""),
        (None, false) => format!("set format = \"{format}\", or \"auto\""),
    };
    let (what, remedy) = match example.map(|example| example.looks) {
        Some(Looks::Ts) => ("this is TS without RTP", set("ts")),
        Some(Looks::Rtp) => ("these are RTP packets", set("rtp")),
        Some(Looks::Rtcp) => {
            ("this is RTCP", "let the sender send it to the port above the media's".to_owned())
        }
        Some(Looks::Native) => ("these are native datagrams", set("native")),
        Some(Looks::Other) | None => {
            let remedy = other
                .clone()
                .unwrap_or_else(|| "set format = \"raw\" to pass them on as they are".to_owned());
            (
                "they are neither RTP nor TS nor native datagrams",
                format!("`tidecast probe` says more; {remedy}"),
            )
        }
    };
    from(&format!("{what}, and {says}: {remedy}"), example)
}

/// Damaged datagrams, or datagrams that were never of this format.
fn damaged(what: &str, state: &ChannelState, example: Option<&Refused>) -> String {
    let cause = match example.map(|example| example.looks) {
        Some(Looks::Ts) => {
            format!("this is TS without RTP, and was taken for {}: set format = \"ts\"", state.format)
        }
        _ => "they are damaged on the way or by their sender, or `format` does not fit them".to_owned(),
    };
    from(&format!("{what}{cause}"), example)
}

/// Adds the source addresses to a text.
fn from(text: &str, example: Option<&Refused>) -> String {
    match example.map(|example| &example.sources[..]) {
        Some([one]) => format!("{text} (from {one})"),
        Some([one, .., other]) => format!("{text} (from {one} and {other})"),
        Some([]) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{
        state::{LegState, LegStatus},
        testing::channel_state,
    };
    use tidecast_core::relay::Counters;

    fn state(format: &str, input: &str, on_demand: bool, looks: Looks) -> ChannelState {
        let mut state = channel_state("a", Counters::default());
        (state.format, state.on_demand) = (format.to_owned(), on_demand);
        state.legs =
            vec![LegState { address: input.to_owned(), state: LegStatus::Joined, ..LegState::default() }];
        let refused = |sources: &[&str]| Refused {
            looks,
            sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
            at: tidecast_net::clock::now(),
            beside: false,
        };
        state.refused.insert("format", refused(&["10.0.0.5:1"]));
        state.refused.insert("collision", refused(&["10.0.0.5:1", "10.0.0.6:1"]));
        state
    }

    #[test]
    fn causes_come_with_their_remedies() {
        let group = "udp://@239.1.1.1:5000";
        let text =
            explain("format", &state("rtp", "rtp://@239.1.1.1:5000", true, Looks::Ts), "/rtp/239.1.1.1:5000");
        assert_eq!(
            text,
            "this is TS without RTP, and /rtp/239.1.1.1:5000 is for RTP alone: ask for /udp/239.1.1.1:5000 (from 10.0.0.5:1)"
        );
        for (format, input, looks, part) in [
            (
                "native",
                group,
                Looks::Rtp,
                "these are RTP packets, and the channel's format says native: set format = \"rtp\"",
            ),
            (
                "rtp",
                "rtp://@239.1.1.1:5000",
                Looks::Ts,
                "write udp:// in the input instead, with format = \"ts\"",
            ),
            ("rtp", group, Looks::Native, "set format = \"native\", or \"auto\""),
            ("ts", group, Looks::Other, "`tidecast probe` says more; set format = \"raw\""),
        ] {
            let text = explain("format", &state(format, input, false, looks), "/streams/a");
            assert!(text.contains(part), "{text}");
        }
        let two = explain("collision", &state("rtp", group, false, Looks::Rtp), "");
        assert!(
            two.starts_with("the same id comes from two addresses")
                && two.ends_with("(from 10.0.0.5:1 and 10.0.0.6:1)"),
            "{two}"
        );
        let mut beside = state("rtp", group, false, Looks::Rtp);
        beside.refused.get_mut("format").unwrap().beside = true;
        assert!(explain("format", &beside, "").starts_with("they come to the ports beside the media's"));
        let unknown = explain("some_new_reason", &state("rtp", group, false, Looks::Rtp), "");
        assert_eq!(unknown, "some new reason");
    }

    #[test]
    fn the_commonest_reasons_are_told_and_the_rare_ones_left_out() {
        let counts = BTreeMap::from([("checksum", 30), ("empty", 2), (UNCONFIRMED, 68)]);
        let text = explain_all(&counts, &state("rtp", "udp://@239.1.1.1:5000", false, Looks::Rtp), "");
        let place = |part: &str| text.find(part).unwrap_or(usize::MAX);
        assert!(place("68 unconfirmed: their numbers") < place("30 with a wrong checksum: "), "{text}");
        assert!(!text.contains("empty"), "{text}");
    }
}
