//! Leader election by a `coordination.k8s.io` Lease: of all operators that run, one works.
//!
//! The clock of another process is never trusted: a lease has expired when this process has seen
//! it unchanged for as long as the holder asked for. A holder that cannot renew in time stops
//! working before another may begin, which is why losing the lease ends the process.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};

/// How long things take. The defaults are those of Kubernetes' own controllers.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTiming {
    /// How long others wait after the last renewal before they take over.
    pub duration: Duration,
    /// A holder that could not renew for this long gives up. Shorter than `duration`.
    pub renew_deadline: Duration,
    /// Between two attempts.
    pub retry_period: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry_period: Duration::from_secs(2) }
    }
}

impl LeaseTiming {
    /// The time to the next attempt. Not the same for all: they would meet each time.
    fn pause(&self) -> Duration {
        self.retry_period.mul_f64(rand::rng().random_range(1.0..=1.2))
    }
}

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: LeaseTiming,
    observed: Option<Observed>,
}

/// A lease as it was when it last changed.
struct Observed {
    resource_version: Option<String>,
    since: Instant,
}

impl Candidate {
    /// A candidate for the lease `name` in `namespace`. `identity` must be its own.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String, timing: LeaseTiming) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity, timing, observed: None }
    }

    /// Of the lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until this candidate holds the lease.
    pub async fn acquire(mut self) -> Leader {
        loop {
            // The time from which others count, at the latest.
            let began = Instant::now();
            match timeout(self.timing.renew_deadline, self.try_acquire()).await {
                Ok(Ok(Some(lease))) => {
                    tracing::info!(lease = self.name, identity = self.identity, "leading");
                    return Leader { candidate: self, lease, renewed: began };
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the lease cannot be taken; trying again"),
                Err(_) => tracing::warn!(lease = self.name, "the API server did not answer in time about the lease; trying again"),
            }
            sleep(self.timing.pause()).await;
        }
    }

    async fn try_acquire(&mut self) -> Result<Option<Lease>, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let first =
                Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec: Some(self.claim(None)) };
            return not_conflict(self.api.create(&PostParams::default(), &first).await);
        };
        if !self.is_free(&lease) {
            return Ok(None);
        }
        let claimed = Lease { spec: Some(self.claim(lease.spec.as_ref())), ..lease };
        not_conflict(self.api.replace(&self.name, &PostParams::default(), &claimed).await)
    }

    /// Whether nobody else holds it, as far as this process has seen.
    fn is_free(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let asked_for =
            spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(self.timing.duration, Duration::from_secs);
        match &self.observed {
            Some(observed) if observed.resource_version == lease.metadata.resource_version => observed.since.elapsed() > asked_for,
            _ => {
                self.observed = Some(Observed { resource_version: lease.metadata.resource_version.clone(), since: Instant::now() });
                false
            }
        }
    }

    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX).max(1)),
            acquire_time: if mine { before.and_then(|spec| spec.acquire_time.clone()) } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if mine || before.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}

/// The candidate that holds the lease.
pub struct Leader {
    candidate: Candidate,
    lease: Lease,
    renewed: Instant,
}

impl Leader {
    /// Renews the lease for as long as that works. Returns when it is lost, with the reason.
    pub async fn until_lost(&mut self) -> String {
        loop {
            sleep(self.candidate.timing.pause()).await;
            let left = self.candidate.timing.renew_deadline.saturating_sub(self.renewed.elapsed());
            if left.is_zero() {
                return format!("it could not be renewed for {} s", self.candidate.timing.renew_deadline.as_secs_f32());
            }
            match timeout(left, self.renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(RenewError::TakenOver(holder))) => return format!("'{holder}' holds it now"),
                Ok(Err(RenewError::Kubernetes(error))) => tracing::warn!(%error, "the lease could not be renewed; trying again"),
                Err(_) => {}
            }
        }
    }

    async fn renew(&mut self) -> Result<(), RenewError> {
        let candidate = &self.candidate;
        // The time from which others count, at the latest.
        let began = Instant::now();
        let renewed = Lease { spec: Some(candidate.claim(self.lease.spec.as_ref())), ..self.lease.clone() };
        match candidate.api.replace(&candidate.name, &PostParams::default(), &renewed).await {
            Ok(lease) => {
                self.lease = lease;
                self.renewed = began;
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => self.look_who_holds_it(began).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody else wrote to the lease. That may have been a person, or our own write whose
    /// answer was lost.
    async fn look_who_holds_it(&mut self, began: Instant) -> Result<(), RenewError> {
        let candidate = &self.candidate;
        let Some(lease) = candidate.api.get_opt(&candidate.name).await? else {
            let again = Lease {
                metadata: ObjectMeta { name: Some(candidate.name.clone()), ..ObjectMeta::default() },
                spec: Some(candidate.claim(None)),
            };
            self.lease = candidate.api.create(&PostParams::default(), &again).await?;
            self.renewed = began;
            return Ok(());
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        if holder != candidate.identity {
            return Err(RenewError::TakenOver(holder));
        }
        self.lease = lease;
        Ok(())
    }

    /// Gives the lease back so that another operator need not wait for it to expire. Call it when
    /// all work has stopped.
    pub async fn release(self) {
        let (name, deadline) = (self.candidate.name.clone(), self.candidate.timing.renew_deadline);
        match timeout(deadline, self.give_back()).await {
            Ok(Ok(())) => tracing::info!(lease = name, "released the lease"),
            Ok(Err(error)) => tracing::warn!(lease = name, %error, "the lease could not be released; others wait until it expires"),
            Err(_) => tracing::warn!(lease = name, "the lease could not be released in time; others wait until it expires"),
        }
    }

    async fn give_back(self) -> Result<(), RenewError> {
        let Candidate { api, name, identity, .. } = self.candidate;
        let freed = |lease: Lease| {
            let spec = lease.spec.unwrap_or_default();
            Lease { spec: Some(LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..spec }), ..lease }
        };
        match api.replace(&name, &PostParams::default(), &freed(self.lease)).await {
            Ok(_) => return Ok(()),
            // A renewal was under way when the work stopped.
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
        let lease = api.get(&name).await?;
        match lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default() {
            holder if holder == identity => {
                api.replace(&name, &PostParams::default(), &freed(lease)).await?;
                Ok(())
            }
            holder => Err(RenewError::TakenOver(holder)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("'{0}' holds the lease")]
    TakenOver(String),
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
}

/// Another candidate being quicker is no error.
fn not_conflict(result: Result<Lease, kube::Error>) -> Result<Option<Lease>, kube::Error> {
    match result {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
