//! `tidecast serve`: the channels of a configuration file, and groups on demand over HTTP.

use anyhow::Context;

use super::{
    Failure, flags,
    service::{Service, block_on},
    shutdown::Signals,
    watch,
};
use crate::cli;

/// Serves until a signal.
///
/// # Errors
/// Errors in the configuration, or why it cannot start.
pub(super) fn run(args: &cli::Serve) -> Result<(), Failure> {
    if args.view.watch() {
        watch::check()?;
    }
    let config = flags::of_serve(args)?;
    block_on(async {
        let signals = Signals::listen().context("cannot wait for signals")?;
        let has_file = args.configuration.path().is_some();
        let signals = if has_file { signals.reloading() } else { signals };
        let mut service = Service::start(&config).await?;
        service.run(signals, args.view, || flags::of_serve(args)).await;
        service.stop().await;
        Ok(())
    })?;
    Ok(())
}
