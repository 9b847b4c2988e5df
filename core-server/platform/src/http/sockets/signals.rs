//! `/api/signals/ws`: what browsers are told (platform facts §8).

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use axum::response::Response;
use checkstack_calls::access::Principal;
use checkstack_signals::{Holder, Standing, attend};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use tracing::{debug, warn};

use super::upgrade::{self, Refused, refused};
use crate::http::Shared;
use crate::identity::NotIdentified;

/// Where it is.
pub(super) const PATH: &str = "/api/signals/ws";

/// Makes a socket of the request. Only a user has signals of their own; an application, and who does not show who they are, hears what is for
/// everybody.
pub(super) async fn answer(shared: &Arc<Shared>, mut parts: Parts) -> Result<Response, Refused> {
    let upgrade = upgrade::begin(&shared.sockets, &mut parts)?;
    let principal = shared.identity().principal(&parts.headers).await.map_err(|problem| not_identified(&problem))?;
    let user = match principal {
        Some(Principal::User(account)) => Some(account.id.clone()),
        Some(Principal::Application(_) | Principal::Service(_)) | None => None,
    };
    let place = upgrade::place(&shared.sockets.browser_places, user.as_deref())?;
    let holder = user.map(|id| SignedIn { shared: Arc::downgrade(shared), shown: proofs(&parts.headers), id });
    let (response, stream) = upgrade.accept();
    let (hub, settings) = (shared.sockets.hub.clone(), shared.sockets.settings.clone());
    shared.sockets.open.spawn(|ending| async move {
        let _place = place;
        let Some(stream) = stream.await else { return };
        let user = holder.as_ref().map(|holder| (holder.id.as_str(), holder as &dyn Holder));
        let ended = attend(stream, &hub, user, &settings.browser_rules, &settings.standing, &ending).await;
        debug!(?ended, "a browser hears no more signals");
    });
    Ok(response)
}

fn not_identified(problem: &NotIdentified) -> Refused {
    warn!(%problem, "a socket is refused");
    match problem {
        NotIdentified::Unavailable(_) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "who makes the request cannot be found out at the moment", Some(2))
        }
        NotIdentified::TooManyAttempts => refused(StatusCode::TOO_MANY_REQUESTS, "too many requests with keys that do not count", Some(10)),
    }
}

/// What shows who makes a request, and nothing else of it.
fn proofs(headers: &HeaderMap) -> HeaderMap {
    let mut proofs = HeaderMap::new();
    for name in [header::COOKIE, header::AUTHORIZATION] {
        for value in headers.get_all(&name) {
            proofs.append(name.clone(), value.clone());
        }
    }
    proofs
}

/// The user who has opened a socket.
struct SignedIn {
    shared: Weak<Shared>,
    /// What they have shown.
    shown: HeaderMap,
    id: String,
}

#[async_trait]
impl Holder for SignedIn {
    async fn standing(&self) -> Standing {
        let Some(shared) = self.shared.upgrade() else { return Standing::Unknown };
        match shared.identity().principal(&self.shown).await {
            Ok(Some(Principal::User(account))) if account.id == self.id => Standing::Same,
            Ok(_) => Standing::Ended,
            Err(_) => Standing::Unknown,
        }
    }
}
