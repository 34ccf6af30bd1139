//! A build without JSON Web Tokens: the configuration refuses `[jwt]`, so none of this is called.

use std::{sync::Arc, time::Duration};

use super::Denied;
use crate::config::{Jwt, Roles};

#[derive(Debug)]
pub(super) struct Issuer(Jwt);

pub(super) struct Bearer {
    pub(super) user: Arc<str>,
    pub(super) roles: Roles,
    pub(super) expires: Duration,
}

impl Issuer {
    pub(super) fn new(config: Jwt) -> Issuer {
        Issuer(config)
    }

    pub(super) fn config(&self) -> &Jwt {
        &self.0
    }

    pub(super) fn check(&self, _token: &str) -> Result<Bearer, Denied> {
        Err(Denied::Unknown)
    }

    pub(super) async fn fetch(self: &Arc<Self>) {}

    pub(super) async fn outdated(&self) {
        std::future::pending().await
    }
}
