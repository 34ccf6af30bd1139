//! What operators may change, with `control = true` or the role `operate`: they disconnect clients.
//!
//! The routes are below `/api/`, so a separate port for operators is the only one that has them.
//! [`super::host`] refuses such requests from pages other than this relay's own.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, Method},
    response::IntoResponse,
};

use super::{
    App, api,
    refusal::{Allow, Refusal},
    rows::ClientRow,
    via::Via,
};
use crate::{
    access::Grant,
    config::Role,
    registry::{NoClient, audience::ClientState},
};

/// Whether operators may act, and clients are listed.
pub(super) fn may_disconnect(app: &App, grant: &Grant) -> bool {
    grant.has(Role::Operate) && app.config.list_clients
}

/// `DELETE /api/v1/streams/NAME/clients/ID`: disconnects a client; answers what it was.
pub(super) async fn disconnect(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refusal> {
    if !grant.has(Role::Operate) {
        let text =
            "clients cannot be disconnected here: the operator allows it with control = true in [http]";
        return Err(Refusal::Forbidden(text.to_owned()));
    }
    api::listed(&app)?;
    let number = id.parse().map_err(|_| {
        Refusal::Malformed(format!(
            "client {id:?}: expected an id, as /api/v1/streams/{name}/clients lists it"
        ))
    })?;
    let client = app.registry.disconnect(&name, number).map_err(|lacking| match lacking {
        NoClient::Channel => api::unknown(&app, &app.observer.seen(), &name),
        NoClient::Client => Refusal::NotFound(format!(
            "{name} has no client {id}, or not any more: expected an id, as /api/v1/streams/{name}/clients lists it"
        )),
    })?;
    let operator = via.who(&headers, &grant);
    tracing::info!(
        channel = name,
        client = client.who.address,
        operator = operator.address,
        user = operator.user.as_deref(),
        "an operator has disconnected a client"
    );
    app.audit.changed(&operator, &format!("disconnected {} from {name}", described(&client)));
    app.observer.operated(
        &name,
        format!("{} was disconnected by an operator at {}", described(&client), operator.address),
    );
    Ok(Json(ClientRow::of(&client)).into_response())
}

/// `127.0.0.1:4711 (http, VLC/3.0.20)`
fn described(client: &ClientState) -> String {
    let by: Vec<&str> = [client.transport.as_str()].into_iter().chain(client.who.agent.as_deref()).collect();
    format!("{} ({})", client.who.address, by.join(", "))
}

/// Refuses other methods.
pub(super) async fn not_so(method: Method) -> Refusal {
    Refusal::Method(format!("method {method}: expected DELETE"), Allow::Delete)
}
