//! What a guest says of itself, and whether the server can work with that.

use std::collections::BTreeSet;

use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{
    Delivery, Description, EntityKindDescription, PluginFailure, ProbeDescription, QueueDescription, SubscriptionDescription,
};

use crate::bindings::exports::checkstack::plugin::lifecycle::{
    Delivery as GuestDelivery, Description as GuestDescription, EntityKind as GuestEntityKind, Probe as GuestProbe, Queue as GuestQueue,
    Subscription as GuestSubscription,
};
use crate::messages;

const MAX_PROBES: usize = 32;
const MAX_QUEUES: usize = 8;
const MAX_SUBSCRIPTIONS: usize = 32;
const MAX_ENTITY_KINDS: usize = 8;
const MAX_SCHEMA_BYTES: usize = 16 * 1024;
const MAX_QUERY_BYTES: usize = 16 * 1024;
/// Of a probe, a queue or a worker group.
const MAX_NAME_BYTES: usize = 63;
const MAX_CONCURRENCY: u32 = 100;
const MAX_RETRIES: u32 = 20;

/// Without the contract, which is a text of the guest's.
pub(crate) fn described(description: GuestDescription) -> (Description, Option<String>) {
    let GuestDescription { probes, contract, queues, subscriptions, entities } = description;
    let probe = |GuestProbe { name, critical }| ProbeDescription { name, critical };
    let queue = |GuestQueue { name, concurrency, max_retries }| QueueDescription { name, concurrency, max_retries };
    let subscription = |GuestSubscription { event, delivery }| SubscriptionDescription {
        event,
        delivery: match delivery {
            GuestDelivery::Broadcast => Delivery::Broadcast,
            GuestDelivery::WorkQueue(group) => Delivery::WorkQueue { group: group.name, max_retries: group.max_retries },
            GuestDelivery::InstanceLocal => Delivery::InstanceLocal,
        },
    };
    let kind = |GuestEntityKind { name, schema, query }| EntityKindDescription { name, schema, query };
    let description = Description {
        probes: probes.into_iter().map(probe).collect(),
        queues: queues.into_iter().map(queue).collect(),
        subscriptions: subscriptions.into_iter().map(subscription).collect(),
        entities: entities.into_iter().map(kind).collect(),
    };
    (description, contract)
}

/// The plugin is built so.
pub(crate) fn invalid(problem: String) -> PluginFailure {
    PluginFailure::terminal(PluginReason::InvalidPackage, format!("describe {problem}"))
}

/// Whether the server can work with a description.
pub(crate) fn check(Description { probes, queues, subscriptions, entities }: &Description) -> Result<(), PluginFailure> {
    check_names("probe", MAX_PROBES, probes.iter().map(|probe| probe.name.as_str()))?;
    check_names("queue", MAX_QUEUES, queues.iter().map(|queue| queue.name.as_str()))?;
    for QueueDescription { name, concurrency, max_retries } in queues {
        if !(1..=MAX_CONCURRENCY).contains(concurrency) || *max_retries > MAX_RETRIES {
            return Err(invalid(format!(
                "names queue '{name}' with {concurrency} jobs at once and {max_retries} retries; 1 to {MAX_CONCURRENCY}, and 0 to {MAX_RETRIES}, are allowed"
            )));
        }
    }
    check_entities(entities)?;
    check_subscriptions(subscriptions)
}

fn check_entities(kinds: &[EntityKindDescription]) -> Result<(), PluginFailure> {
    check_names("entity kind", MAX_ENTITY_KINDS, kinds.iter().map(|kind| kind.name.as_str()))?;
    for kind @ EntityKindDescription { name, schema, query } in kinds {
        kind.check_name().map_err(|problem| invalid(format!("names a kind of entities: {problem}")))?;
        for (what, text, most) in [("schema", schema, MAX_SCHEMA_BYTES), ("query", query, MAX_QUERY_BYTES)] {
            if text.is_empty() || text.len() > most {
                let bytes = text.len();
                return Err(invalid(format!("gives the kind of entities '{name}' a {what} of {bytes} bytes; 1 to {most} are allowed")));
            }
        }
    }
    Ok(())
}

fn check_subscriptions(subscriptions: &[SubscriptionDescription]) -> Result<(), PluginFailure> {
    if subscriptions.len() > MAX_SUBSCRIPTIONS {
        return Err(invalid(format!("names {} subscriptions; at most {MAX_SUBSCRIPTIONS} are allowed", subscriptions.len())));
    }
    let groups: Vec<&str> = subscriptions.iter().filter_map(|subscription| subscription.delivery.worker_group()).collect();
    check_names("worker group", MAX_SUBSCRIPTIONS, groups.into_iter())?;
    let mut seen = BTreeSet::new();
    for subscription @ SubscriptionDescription { event, delivery } in subscriptions {
        if let Err(problem) = subscription.topic() {
            return Err(invalid(format!("subscribes to '{}', which is no event: {problem}", messages::shown(event))));
        }
        if let Delivery::WorkQueue { group, max_retries } = delivery
            && *max_retries > MAX_RETRIES
        {
            return Err(invalid(format!("names worker group '{group}' with {max_retries} retries; 0 to {MAX_RETRIES} are allowed")));
        }
        if delivery.worker_group().is_none() && !seen.insert((event, delivery)) {
            return Err(invalid(format!("subscribes to '{event}' twice in the same way")));
        }
    }
    Ok(())
}

/// Names are shown, and are parts of other names.
fn check_names<'a>(what: &str, most: usize, names: impl ExactSizeIterator<Item = &'a str>) -> Result<(), PluginFailure> {
    if names.len() > most {
        return Err(invalid(format!("names {} {what}s; at most {most} are allowed", names.len())));
    }
    let mut seen = BTreeSet::new();
    for name in names {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
            let shown = messages::shown(name);
            return Err(invalid(format!("names {what} '{shown}'; a name has 1 to {MAX_NAME_BYTES} letters, digits and '-', '_', '.'")));
        }
        if !seen.insert(name) {
            return Err(invalid(format!("names {what} '{name}' twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check_probes(names: &[&str]) -> Result<(), PluginFailure> {
        let probe = |name: &&str| ProbeDescription { name: (*name).into(), critical: true };
        check(&Description { probes: names.iter().map(probe).collect(), ..Description::default() })
    }

    #[test]
    fn subscriptions_are_few_and_tell_events_and_groups_apart() {
        let subscription = |event: &str, delivery| SubscriptionDescription { event: event.into(), delivery };
        let group = |group: &str, max_retries| Delivery::WorkQueue { group: group.into(), max_retries };
        let check = |subscriptions: Vec<SubscriptionDescription>| check(&Description { subscriptions, ..Description::default() });
        let several = vec![
            subscription("uptime.changed", Delivery::Broadcast),
            subscription("uptime.changed", Delivery::InstanceLocal),
            subscription("uptime.changed", group("page", 0)),
            subscription("uptime.changed", group("mail", 20)),
        ];
        assert_eq!(check(several), Ok(()));
        for (subscriptions, problem) in [
            (vec![subscription("a b", Delivery::Broadcast)], "which is no event"),
            (vec![subscription(&format!("a.{}", "x".repeat(80)), Delivery::Broadcast)], "which is no event"),
            (vec![subscription("a.b", group("", 1))], "names worker group ''"),
            (vec![subscription("a.b", group("g", 21))], "21 retries"),
            (vec![subscription("a.b", group("g", 1)), subscription("a.c", group("g", 1))], "worker group 'g' twice"),
            (vec![subscription("a.b", Delivery::Broadcast), subscription("a.b", Delivery::Broadcast)], "twice in the same way"),
            ((0..33).map(|number| subscription(&format!("a.e{number}"), Delivery::Broadcast)).collect(), "33 subscriptions"),
        ] {
            let failure = check(subscriptions).unwrap_err();
            assert!(failure.reason == PluginReason::InvalidPackage && failure.message.contains(problem), "{failure}");
        }
    }

    #[test]
    fn kinds_of_entities_are_few_and_have_limits() {
        let kind =
            |name: &str, schema: &str, query: &str| EntityKindDescription { name: name.into(), schema: schema.into(), query: query.into() };
        let check = |entities| check(&Description { entities, ..Description::default() });
        assert_eq!(check(vec![kind("target", "{}", "SELECT 1"), kind("run-2", "{}", "SELECT 1")]), Ok(()));
        for entities in [
            vec![kind("Target", "{}", "SELECT 1")],
            vec![kind("a.b", "{}", "SELECT 1")],
            vec![kind("target", "", "SELECT 1")],
            vec![kind("target", "{}", "")],
            vec![kind("target", &"x".repeat(MAX_SCHEMA_BYTES + 1), "SELECT 1")],
            vec![kind("target", "{}", &"x".repeat(MAX_QUERY_BYTES + 1))],
            vec![kind("target", "{}", "SELECT 1"), kind("target", "{}", "SELECT 2")],
            (0..9).map(|number| kind(&format!("k{number}"), "{}", "SELECT 1")).collect(),
        ] {
            assert!(check(entities.clone()).is_err_and(|failure| failure.reason == PluginReason::InvalidPackage), "{entities:?}");
        }
    }

    #[test]
    fn queues_are_few_and_have_limits() {
        let queue = |name: &str, concurrency, max_retries| QueueDescription { name: name.into(), concurrency, max_retries };
        let check = |queues| check(&Description { queues, ..Description::default() });
        assert_eq!(check(vec![queue("mail", 1, 0), queue("checks", 100, 20)]), Ok(()));
        for queues in [
            vec![queue("mail", 0, 3)],
            vec![queue("mail", 101, 3)],
            vec![queue("mail", 1, 21)],
            vec![queue("a b", 1, 1)],
            vec![queue("mail", 1, 1), queue("mail", 1, 1)],
            (0..9).map(|number| queue(&format!("q{number}"), 1, 1)).collect(),
        ] {
            assert!(check(queues.clone()).is_err_and(|failure| failure.reason == PluginReason::InvalidPackage), "{queues:?}");
        }
    }

    #[test]
    fn probe_names_are_plain_and_unique() {
        assert_eq!(check_probes(&["database", "queue.lag", "Upstream_2"]), Ok(()));
        for names in [&["a", "a"][..], &[""], &["a b"], &["é"], &["a/b"], &["x".repeat(64).as_str()], &["a"; 33]] {
            assert!(
                matches!(check_probes(names), Err(failure) if failure.reason == PluginReason::InvalidPackage && !failure.transient),
                "{names:?}"
            );
        }
    }
}
