//! Tests of the contents of recorded files.

use std::{fs, path::Path};

use pcap_parser::{Block, PcapBlockOwned, create_reader};

use super::*;
use crate::channel::tap::{FlowName, Select, Tap};
use tidecast_core::{
    buffer::Buffer,
    relay::{Delivery, FlowId, How, Packet, PacketFormat},
};
use tidecast_net::limits::RECORDING_BYTES_MIN;
use tidecast_testkit::sockets::PATIENCE;

const AT: Duration = Duration::from_millis(1_795_193_495_123);

fn flow() -> Arc<FlowName> {
    Arc::new(FlowName { key: "7".to_owned(), source: "10.0.0.1:5000".parse().unwrap() })
}

fn push(tap: &mut Tap<Batch>, seq: u64, bytes: Vec<u8>) {
    let now = clock::now();
    let packet = Packet {
        payload: 0..bytes.len() as u32,
        bytes: Buffer::from(bytes),
        timestamp: None,
        arrived: now,
        format: PacketFormat::Custom,
    };
    let delivery = Delivery { flow: FlowId(0), seq, span: 1, how: How::Received, packet };
    tap.packet(&flow(), &delivery, true, AT + Duration::from_nanos(seq), now);
    tap.turn(now, true);
}

/// Records what `fill` puts into the tap, until the tap's end.
fn record(address: &str, fill: impl FnOnce(&mut Tap<Batch>)) -> OutputState {
    watched(address, |tap, _| fill(tap))
}

/// Like `record`; `fill` can read the state of the recording.
fn watched(address: &str, fill: impl FnOnce(&mut Tap<Batch>, &Recorder)) -> OutputState {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut tap: Tap<Batch> = Tap::new(Select::Auto, Duration::ZERO);
        let to = "239.1.1.1:5000".parse().unwrap();
        let recorder = Recorder::start(&address.parse().unwrap(), "cam", to, tap.reader());
        fill(&mut tap, &recorder);
        drop(tap);
        tokio::time::timeout(PATIENCE, recorder.ended()).await.expect("ends");
        recorder.state()
    })
}

/// The timestamps, payloads and comments of a file.
fn read(path: &Path) -> Vec<(u64, Vec<u8>, String)> {
    let mut reader = create_reader(1 << 20, fs::File::open(path).unwrap()).unwrap();
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((size, block)) => {
                if let PcapBlockOwned::NG(Block::EnhancedPacket(packet)) = &block {
                    let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                    let comment = packet.options.first().map(|option| option.as_str().unwrap().to_owned());
                    let payload = packet.data[28..packet.caplen as usize].to_vec();
                    packets.push((time, payload, comment.unwrap_or_default()));
                }
                reader.consume(size);
            }
            Err(pcap_parser::PcapError::Eof) => return packets,
            Err(pcap_parser::PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn packets_are_recorded_with_their_times_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/er");
    let state = record(&format!("pcapng:{}", path.display()), |tap| {
        tap.event(flow(), Event::Started, clock::now());
        push(tap, 1, vec![1, 2, 3]);
        tap.event(flow(), Event::Lost { from: 2, count: 3 }, clock::now());
        push(tap, 5, vec![4]);
        push(tap, 6, vec![0; 70_000]);
    });
    let files = files(&path);
    assert_eq!(files, [path.join("cam-20261120T165135.123Z.pcapng")]);
    let at = nanoseconds(AT);
    let lost = "flow 7: lost 3, 2 to 4".to_owned();
    assert_eq!(
        read(&files[0]),
        [(at + 1, vec![1, 2, 3], "flow 7: begins".to_owned()), (at + 5, vec![4], lost)]
    );
    assert_eq!((state.packets, state.bytes, state.fault), (2, 4, None));
    assert_eq!(state.dropped, BTreeMap::from([("lag", 0), ("stopped", 0), ("too_big", 1)]));
}

/// Waits until the state of a recording matches.
fn until(recorder: &Recorder, wanted: impl Fn(&OutputState) -> bool) {
    let start = clock::now();
    while !wanted(&recorder.state()) {
        assert!(clock::now() - start < PATIENCE, "{:?}", recorder.state());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_recording_that_stopped_goes_on_in_a_new_file_and_marks_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("rec");
    fs::write(&below, "a file where the folder should be").unwrap();
    let state = watched(&format!("pcapng:{}", below.display()), |tap, recorder| {
        (0..5).for_each(|n| push(tap, n, vec![1]));
        until(recorder, |state| state.dropped["stopped"] == 5);
        let fault = recorder.state().fault.expect("a fault");
        assert!(fault.contains("cannot make the folder"), "{fault}");
        fs::remove_file(&below).unwrap();
        until(recorder, |state| state.fault.is_none());
        (5..8).for_each(|n| push(tap, n, vec![2]));
        until(recorder, |state| state.packets == 3);
    });
    assert_eq!((state.packets, state.dropped["stopped"], state.fault), (3, 5, None));
    let [file] = &files(&below)[..] else { panic!("one file") };
    let comments: Vec<String> = read(file).into_iter().map(|(.., comment)| comment).collect();
    assert_eq!(comments, ["5 packets before this one were not recorded", "", ""]);
}

#[test]
fn a_file_that_somebody_removes_is_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rec");
    let state = watched(&format!("pcapng:{}", path.display()), |tap, recorder| {
        push(tap, 0, vec![1]);
        until(recorder, |state| state.packets == 1);
        fs::remove_dir_all(&path).unwrap();
        push(tap, 1, vec![2]);
        until(recorder, |state| state.packets == 2);
    });
    assert_eq!((state.packets, state.dropped["stopped"], state.fault), (2, 0, None));
    let [file] = &files(&path)[..] else { panic!("one file") };
    assert_eq!(read(file), [(nanoseconds(AT) + 1, vec![2], String::new())]);
}

#[test]
fn files_rotate_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("cam-2-20201120T165135.123Z.pcapng");
    fs::write(&other, "another channel's").unwrap();
    let taken = folder.path().join("cam-20261120T165135.123Z.pcapng");
    fs::write(&taken, "an earlier run's").unwrap();
    let address = format!("pcapng:{}?rotate=100kB&keep=3", folder.path().display());
    let state = record(&address, |tap| (0..350).for_each(|n| push(tap, n, vec![n as u8; 1000])));
    assert_eq!((state.packets, state.fault), (350, None));
    let files = files(folder.path());
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(fs::read(&other).unwrap() == b"another channel's" && !files.contains(&taken), "{files:?}");
    let mut numbers = Vec::new();
    for path in files.iter().filter(|path| **path != other) {
        assert!(fs::metadata(path).unwrap().len() <= RECORDING_BYTES_MIN);
        numbers.extend(read(path).into_iter().map(|(time, ..)| time - nanoseconds(AT)));
    }
    assert_eq!(*numbers.last().unwrap(), 349);
    assert!(numbers.len() > 250 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

/// From a time with a wrong clock: their names sort last, but they are deleted first.
#[test]
fn files_with_future_names_cost_none_of_this_run() {
    let folder = tempfile::tempdir().unwrap();
    for minute in 0..5 {
        let future = folder.path().join(format!("cam-20991120T16{minute:02}35.123Z.pcapng"));
        fs::write(&future, "an earlier run's").unwrap();
    }
    let address = format!("pcapng:{}?rotate=100kB&keep=3", folder.path().display());
    let state = record(&address, |tap| (0..350).for_each(|n| push(tap, n, vec![n as u8; 1000])));
    assert_eq!((state.packets, state.fault), (350, None));
    let files = files(folder.path());
    assert_eq!(files.len(), 3, "{files:?}");
    let numbers: Vec<u64> =
        files.iter().flat_map(|path| read(path)).map(|(time, ..)| time - nanoseconds(AT)).collect();
    assert_eq!(*numbers.last().unwrap(), 349);
    assert!(numbers.len() > 250 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("cam-20261120T165135.123Z.pcapng");
    fs::write(&taken, "mine").unwrap();
    record(&format!("pcapng:{}", folder.path().display()), |tap| push(tap, 0, vec![9]));
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    assert_eq!(read(&folder.path().join("cam-20261120T165135.123Z_1.pcapng")).len(), 1);
}

#[test]
fn a_folder_that_cannot_be_stops_the_recording_and_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let address = format!("pcapng:{}/below", file.path().display());
    let state = record(&address, |tap| (0..5).for_each(|n| push(tap, n, vec![1])));
    let fault = state.fault.expect("a fault");
    assert!(
        fault.contains("cannot make the folder") && fault.ends_with("the recording has stopped"),
        "{fault}"
    );
    assert_eq!((state.packets, state.dropped["stopped"]), (0, 5));
}
