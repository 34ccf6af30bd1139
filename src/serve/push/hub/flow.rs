//! State of each flow in a hub.

use std::{collections::HashMap, sync::Arc};

use crate::{
    channel::tap::{FlowName, Info},
    serve::push::class::Value,
};
use tidecast_core::limits::CHANNEL_BYTES_MAX;

/// State of a flow.
#[derive(Debug)]
pub(super) struct HubFlow {
    pub(super) name: Arc<FlowName>,
    pub(super) last: Option<Value>,
    /// The next number, and the hub's `skips` when it became known.
    pub(super) next: Option<(u64, u64)>,
    /// Count of numbers that its last packet took.
    pub(super) span: u16,
    pub(super) followed: bool,
    /// The hub's `turns` at its last packet.
    pub(super) heard: u64,
    /// The next packet starts a run.
    pub(super) starts: bool,
}

impl HubFlow {
    pub(super) fn new(name: Arc<FlowName>) -> HubFlow {
        HubFlow { name, last: None, next: None, span: 1, followed: false, heard: 0, starts: false }
    }

    /// Memory of the last payload, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.payload.capacity())
    }

    /// Keeps a packet as the newest value. `kept`: bytes of all flows' values; without room, this
    /// flow keeps none.
    pub(super) fn keep(&mut self, info: &Info, payload: &[u8], kept: &mut usize) -> bool {
        *kept -= self.bytes();
        if *kept + payload.len().max(self.bytes()) > CHANNEL_BYTES_MAX {
            self.last = None; // an old value would be worse than none
            return false;
        }
        self.put(info, payload);
        *kept += self.bytes();
        true
    }

    fn put(&mut self, info: &Info, payload: &[u8]) {
        match &mut self.last {
            Some(last) => {
                last.info.clone_from(info);
                last.payload.clear();
                last.payload.extend_from_slice(payload);
            }
            None => self.last = Some(Value { info: info.clone(), payload: payload.to_vec() }),
        }
    }
}

/// Flows of a hub by key; an unknown key is added.
pub(super) trait FlowTable {
    fn entry_of(&mut self, name: &Arc<FlowName>) -> &mut HubFlow;
}

impl FlowTable for HashMap<String, HubFlow> {
    fn entry_of(&mut self, name: &Arc<FlowName>) -> &mut HubFlow {
        if !self.contains_key(&name.key) {
            self.insert(name.key.clone(), HubFlow::new(name.clone()));
        }
        self.get_mut(&name.key).expect("it is there")
    }
}
