//! Everybody is an admin: for developers who run the server on their own machine, and nowhere else (platform facts §6.6).

use std::net::SocketAddr;

use tracing::warn;

/// The first is set in every pod, the second in those that the operator makes.
const OF_A_POD: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "CHECKSTACK_POD_NAME"];

/// Why it is not done here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// This looks like production.
    #[error("CHECKSTACK_DEV_AUTH=true is refused in a cluster, which this is ({0} is set): everybody would be an admin")]
    InCluster(&'static str),
    /// Others would be admins as well.
    #[error("CHECKSTACK_DEV_AUTH=true is refused with the address {0}, which others may reach: set CHECKSTACK_LISTEN=127.0.0.1:3000")]
    Reachable(SocketAddr),
}

/// Whether it may be done where these addresses are listened on. `is_set` is about variables of the environment.
pub(crate) fn check(listen: &[SocketAddr], is_set: impl Fn(&str) -> bool) -> Result<(), Refused> {
    if let Some(variable) = OF_A_POD.into_iter().find(|variable| is_set(variable)) {
        return Err(Refused::InCluster(variable));
    }
    match listen.iter().find(|address| !address.ip().is_loopback()) {
        Some(reachable) => Err(Refused::Reachable(*reachable)),
        None => Ok(()),
    }
}

/// At each start.
pub(crate) fn warn_loudly() {
    warn!(
        "CHECKSTACK_DEV_AUTH=true: EVERYBODY WHO REACHES THIS SERVER IS AN ADMIN (dev-user). For development only, never with real data."
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_the_own_machine_and_not_for_a_pod() {
        let own: Vec<SocketAddr> = vec!["127.0.0.1:3000".parse().unwrap(), "[::1]:3000".parse().unwrap()];
        assert_eq!(check(&own, |_| false), Ok(()));
        for variable in ["KUBERNETES_SERVICE_HOST", "CHECKSTACK_POD_NAME"] {
            assert_eq!(check(&own, |name| name == variable), Err(Refused::InCluster(variable)));
        }
        for reachable in ["0.0.0.0:3000", "[::]:3000", "192.168.0.2:3000"] {
            let reachable = reachable.parse().unwrap();
            assert_eq!(check(&[own[0], reachable], |_| false), Err(Refused::Reachable(reachable)));
        }
    }
}
