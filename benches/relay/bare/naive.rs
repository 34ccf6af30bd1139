//! The straightforward implementation: a task per stream that receives a packet and sends it to
//! each target, on tokio's default runtime.

use std::sync::Arc;

use tokio::net::UdpSocket;

use super::Stream;
use crate::socket;

/// Forwards until it is killed.
pub(super) fn run(streams: &[Stream]) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let sender = Arc::new(UdpSocket::from_std(socket::sender()?.into())?);
        let mut tasks = tokio::task::JoinSet::new();
        for stream in streams {
            let receiver = UdpSocket::from_std(socket::join(stream.group)?.into())?;
            tasks.spawn(forward(receiver, sender.clone(), stream.clone()));
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        Ok(())
    })
}

async fn forward(receiver: UdpSocket, sender: Arc<UdpSocket>, stream: Stream) -> anyhow::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let (len, _) = receiver.recv_from(&mut buffer).await?;
        for target in &stream.targets {
            // A target that cannot be reached must not cause losses for the others.
            let _ = sender.send_to(&buffer[..len], target).await;
        }
    }
}
