//! Kubernetes Events: one for every transition that a person wants to know of, none otherwise.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::names;

/// The API server refuses notes with more bytes.
const MAX_NOTE: usize = 1024;

/// Publishes Events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

/// Something worth an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// Something went wrong.
    pub(crate) warning: bool,
    /// The reason of a condition, or one word for what happened.
    pub(crate) reason: String,
    /// What the operator was doing.
    pub(crate) action: &'static str,
    /// One sentence.
    pub(crate) note: String,
}

impl Events {
    pub(crate) fn new(client: kube::Client, identity: &str) -> Self {
        let reporter = Reporter { controller: names::MANAGED_BY.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Publishes Events about an object. That one cannot be published must not keep anything from
    /// being done: it is logged.
    pub(crate) async fn publish<K: Resource<DynamicType = ()>>(&self, about: &K, transitions: Vec<Transition>) {
        for transition in transitions {
            let event = Event {
                type_: if transition.warning { EventType::Warning } else { EventType::Normal },
                reason: transition.reason,
                note: Some(shortened(&transition.note)),
                action: transition.action.to_owned(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
                tracing::warn!(%error, reason = event.reason, "an Event could not be published");
            }
        }
    }
}

fn shortened(note: &str) -> String {
    note.get(..note.floor_char_boundary(MAX_NOTE)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_no_more_bytes_than_are_accepted() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"x".repeat(2000)).len(), MAX_NOTE);
        let umlauts = shortened(&format!("x{}", "ä".repeat(2000)));
        assert_eq!((umlauts.len(), umlauts.chars().count()), (MAX_NOTE - 1, MAX_NOTE / 2));
    }
}
