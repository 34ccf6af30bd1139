//! Requests of one connection before they reach the routes: the client and its place, the address
//! under which it has reached this server, and whether the path is served on this port.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use hyper::{Request, body::Incoming, service::Service, upgrade::OnUpgrade};
use hyper_util::service::TowerToHyperService;

use super::{
    app::Shared,
    handover::Handover,
    path,
    refusal::Refusal,
    via::{Ends, Via},
};
use crate::shares::Place;

/// Answers requests; they store in the handover what their connection sends afterwards.
pub(super) struct Requests {
    pub(super) router: TowerToHyperService<Router>,
    pub(super) handover: Handover,
    pub(super) shared: Arc<Shared>,
    pub(super) ends: Ends,
    pub(super) place: ConnectionPlace,
}

/// A connection's place, which counts for the client of its current request.
pub(super) type ConnectionPlace = Arc<Mutex<Place>>;

impl Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let config = &self.shared.config;
        self.handover.offered(request.extensions().get::<OnUpgrade>().cloned());
        path::normalize(request.uri_mut(), &config.base);
        let via = Via::new(self.ends, request.uri(), request.headers(), config);
        if let Err(refused) = self.place.lock().unwrap_or_else(PoisonError::into_inner).pass_to(via.caller) {
            let mut response = Refusal::from(refused).into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Box::pin(std::future::ready(Ok(response)));
        }
        let path = request.uri().path();
        if path::is_base_without_slash(path, &config.base) {
            return Box::pin(std::future::ready(Ok(Redirect::permanent(&config.base).into_response())));
        }
        if !self.shared.serves(via.door, path) {
            let refusal =
                Refusal::NotFound(format!("{path} is not served at this port: see / for what is here"));
            return Box::pin(std::future::ready(Ok(refusal.into_response())));
        }
        request.extensions_mut().insert(self.handover.clone());
        // From here on, handlers that ask for the server's address see the one that the client
        // used.
        if let Some(host) = via.host().and_then(|host| HeaderValue::from_str(host).ok())
            && request.headers().get(header::HOST) != Some(&host)
        {
            request.headers_mut().insert(header::HOST, host);
        }
        request.extensions_mut().insert(via);
        Box::pin(self.router.call(request))
    }
}
