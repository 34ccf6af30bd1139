//! Decides where the RTCP of RTP senders is received and sent: on the port above the media, but
//! never on a port that is used for something else.

use std::{collections::HashSet, net::SocketAddr};

use super::{Channel, Leg};
use tidecast_core::relay::Beside;
use tidecast_net::address::{OutputRtcp, Scheme};
use tidecast_wire::Format;

/// Decides for each leg whether the port above it carries its RTCP, and for each output without an
/// explicit setting whether the port above it does.
pub(super) fn place(channels: &mut [Channel]) {
    let inputs = channels.iter().flat_map(|channel| &channel.legs).map(|leg| leg.address.socket_addr());
    let inputs: HashSet<SocketAddr> = inputs.collect();
    let targets = channels.iter().flat_map(|channel| &channel.outputs).map(|output| output.target);
    let targets: HashSet<SocketAddr> = targets.collect();
    for channel in channels {
        for output in channel.outputs.iter_mut().filter(|output| output.rtcp.is_none()) {
            let above = output.reports_to(Beside::Above);
            if above.is_some_and(|above| inputs.contains(&above) || targets.contains(&above)) {
                output.rtcp = Some(OutputRtcp::IfMuxed);
            }
        }
        let wanted = channel.outputs.iter().any(|output| output.reports_to(Beside::Above).is_some());
        let rtp = channel.format == Format::Rtp;
        for leg in channel.legs.iter_mut().filter(|_| rtp && wanted) {
            leg.reports = is_rtcp(leg, &inputs);
        }
    }
}

/// Returns whether RTCP is received above this leg, if there is any: media has the even port (RFC
/// 3550 section 11).
fn is_rtcp(leg: &Leg, inputs: &HashSet<SocketAddr>) -> bool {
    let address = &leg.address;
    let above = address.on_port_above(1).map(|above| above.socket_addr());
    let free = above.is_some_and(|above| address.is_class_d() || !inputs.contains(&above));
    address.scheme != Scheme::Rist && address.port.is_multiple_of(2) && free
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// Returns whether each leg has RTCP above it, and the resulting outputs.
    fn placed(channels: &[(&str, &str)]) -> (Vec<bool>, Vec<String>) {
        let channel = |(index, (input, output)): (usize, &(&str, &str))| {
            format!("[[channel]]\nname = \"c{index}\"\ninput = [{input}]\noutput = [{output}]\n")
        };
        let text: String = channels.iter().enumerate().map(channel).collect();
        let config: Config = text.parse().unwrap();
        let legs = config.channels.iter().flat_map(|channel| &channel.legs).map(|leg| leg.reports);
        let outputs =
            config.channels.iter().flat_map(|channel| &channel.outputs).map(|output| output.to_string());
        (legs.collect(), outputs.collect())
    }

    fn legs(input: &str, output: &str) -> Vec<bool> {
        placed(&[(input, output)]).0
    }

    #[test]
    fn rtcp_is_received_where_somebody_wants_it_and_it_may_come() {
        let to = "\"rtp://10.0.0.7:6000\"";
        assert_eq!(legs("\"rtp://239.1.1.1:5000\", \"rtp://239.1.2.1:5000\"", to), [true, true]);
        assert_eq!(legs("\"rtp://@:5000\"", to), [true]);
        assert_eq!(legs("\"rtp://239.1.1.1:5001\"", to), [false], "odd ports are RTCP's own");
        assert_eq!(legs("\"udp://239.1.1.1:5000\"", to), [false], "it may be anything");
        assert_eq!(legs("\"rist://239.1.1.1:5000\"", to), [false], "that is RIST's");
        for none in [
            "",
            "\"rist://10.0.0.7:6000\"",
            "\"udp://10.0.0.7:6000?payload=1\"",
            "\"rtp://10.0.0.7:6000?rtcp=off\"",
        ] {
            assert_eq!(legs("\"rtp://239.1.1.1:5000\"", none), [false], "{none}");
        }
        assert_eq!(legs("\"rtp://239.1.1.1:5000\"", "\"rtp://10.0.0.7:6000?rtcp=mux\""), [true]);
    }

    #[test]
    fn ports_of_others_are_left_alone() {
        let (legs, outputs) = placed(&[
            (
                "\"rtp://@10.0.0.1:5000\"",
                "\"rtp://10.0.0.7:6000\", \"rtp://10.0.0.7:6001\", \"rtp://10.0.0.7:6002?rtcp=mux\"",
            ),
            ("\"udp://@10.0.0.1:5001\"", "\"udp://10.0.0.7:6003\""),
        ]);
        assert_eq!(legs, [false, false]);
        let expected = [
            "rtp://10.0.0.7:6000?rtcp=if-muxed",
            "rtp://10.0.0.7:6001?rtcp=if-muxed",
            "rtp://10.0.0.7:6002?rtcp=mux",
            "udp://10.0.0.7:6003",
        ];
        assert_eq!(outputs, expected);
        let loops = "[[channel]]\nname = \"a\"\ninput = \"rtp://239.1.1.1:5000\"\noutput = \"rtp://239.1.1.2:5000?rtcp=above\"\n\
            [[channel]]\nname = \"b\"\ninput = \"rtp://239.1.1.2:5001\"\n";
        let error = loops.parse::<Config>().unwrap_err().to_string();
        assert!(error.contains("expected an address that is no input"), "{error}");
    }
}
