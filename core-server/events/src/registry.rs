//! Which subscriptions there are. Pure: what runs for a subscription is whatever its owner puts in.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::EventError;
use crate::hook::{HookId, Subscriber};
use crate::limits::Limits;
use crate::mode::Mode;

/// Of a subscription in this process.
pub(crate) type Number = u64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry<Running> {
    entries: BTreeMap<Number, Entry<Running>>,
    last: Number,
    stopped: bool,
}

#[derive(Debug)]
struct Entry<Running> {
    subscriber: Subscriber,
    hook: HookId,
    worker_group: Option<String>,
    /// None while it is being started
    running: Option<Running>,
}

impl<Running> Default for Registry<Running> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last: 0, stopped: false }
    }
}

impl<Running> Registry<Running> {
    /// Takes the place of a subscription, and the name of its worker group, until it is removed.
    pub(crate) fn admit(&mut self, subscriber: &Subscriber, hook: &HookId, mode: &Mode, limits: &Limits) -> Result<Number, EventError> {
        if self.stopped {
            return Err(EventError::Stopped);
        }
        let too_many = |what, most| Err(EventError::TooMany { subscriber: subscriber.to_string(), hook: hook.to_string(), what, most });
        let own = || self.entries.values().filter(|entry| entry.subscriber == *subscriber);
        if let Some(group) = mode.worker_group()
            && own().any(|entry| entry.worker_group.as_deref() == Some(group))
        {
            return Err(EventError::DuplicateWorkerGroup { subscriber: subscriber.to_string(), group: group.to_owned() });
        }
        if own().count() >= limits.subscriptions {
            return too_many("subscriptions of it", limits.subscriptions);
        }
        let hooks: BTreeSet<&HookId> = self.entries.values().map(|entry| &entry.hook).collect();
        if !hooks.contains(hook) && hooks.len() >= limits.hooks {
            return too_many("hooks with subscriptions", limits.hooks);
        }
        self.last += 1;
        let worker_group = mode.worker_group().map(str::to_owned);
        self.entries.insert(self.last, Entry { subscriber: subscriber.clone(), hook: hook.clone(), worker_group, running: None });
        Ok(self.last)
    }

    /// It has started; given back when it was ended meanwhile.
    pub(crate) fn started(&mut self, number: Number, running: Running) -> Result<(), Running> {
        match self.entries.get_mut(&number) {
            Some(entry) => {
                entry.running = Some(running);
                Ok(())
            }
            None => Err(running),
        }
    }

    /// What runs for it, unless it was removed before.
    pub(crate) fn remove(&mut self, number: Number) -> Option<Running> {
        self.entries.remove(&number)?.running
    }

    /// All of one subscriber.
    pub(crate) fn remove_all_of(&mut self, subscriber: &Subscriber) -> Vec<Running> {
        let removed = self.entries.extract_if(.., |_, entry| entry.subscriber == *subscriber);
        removed.filter_map(|(_, entry)| entry.running).collect()
    }

    /// All; no others are admitted from now on.
    pub(crate) fn stop(&mut self) -> Vec<Running> {
        self.stopped = true;
        std::mem::take(&mut self.entries).into_values().filter_map(|entry| entry.running).collect()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// What runs for a hook, and for whom, in the order of the subscriptions.
    pub(crate) fn of_hook(&self, hook: &HookId) -> impl Iterator<Item = (&Subscriber, &Running)> {
        let of_hook = self.entries.values().filter(move |entry| entry.hook == *hook);
        of_hook.filter_map(|entry| entry.running.as_ref().map(|running| (&entry.subscriber, running)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { subscriptions: 3, hooks: 2, listeners: 1, listeners_of_one: 1, listening: std::time::Duration::ZERO };

    fn subscriber(number: usize) -> Subscriber {
        format!("plugin-{number}").parse().unwrap()
    }

    fn hook(number: usize) -> HookId {
        format!("hook.{number}").parse().unwrap()
    }

    #[test]
    fn a_worker_group_is_unique_within_a_plugin_until_it_is_freed() {
        let mut registry = Registry::<()>::default();
        let mode = Mode::work_queue("sync");
        let first = registry.admit(&subscriber(0), &hook(0), &mode, &LIMITS).unwrap();
        let refused = registry.admit(&subscriber(0), &hook(1), &mode, &LIMITS).unwrap_err().to_string();
        assert!(refused.contains("Duplicate workerGroup 'sync' detected"), "{refused}");
        assert!(registry.admit(&subscriber(1), &hook(0), &mode, &LIMITS).is_ok(), "that of another plugin is another group");
        registry.remove(first);
        assert!(registry.admit(&subscriber(0), &hook(0), &mode, &LIMITS).is_ok());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit { subscriber: usize, hook: usize, group: Option<usize> },
        Start { which: prop::sample::Index },
        Remove { which: prop::sample::Index },
        RemoveAllOf { subscriber: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            6 => (0..3usize, 0..4usize, prop::option::of(0..2usize)).prop_map(|(subscriber, hook, group)| Step::Admit { subscriber, hook, group }),
            4 => index().prop_map(|which| Step::Start { which }),
            3 => index().prop_map(|which| Step::Remove { which }),
            1 => (0..3usize).prop_map(|subscriber| Step::RemoveAllOf { subscriber }),
        ]
    }

    #[derive(Debug, Clone, PartialEq)]
    struct Known {
        number: Number,
        subscriber: usize,
        hook: usize,
        group: Option<usize>,
        started: bool,
    }

    fn admissible(known: &[Known], subscriber: usize, hook: usize, group: Option<usize>) -> bool {
        let own = || known.iter().filter(|other| other.subscriber == subscriber);
        let hooks: BTreeSet<usize> = known.iter().map(|other| other.hook).chain([hook]).collect();
        let free = group.is_none() || own().all(|other| other.group != group);
        free && own().count() < LIMITS.subscriptions && (hooks.len() <= LIMITS.hooks || known.iter().any(|other| other.hook == hook))
    }

    proptest! {
        #[test]
        fn any_sequence_of_steps_keeps_names_and_bounds(steps in prop::collection::vec(step(), 1..60)) {
            let mut registry = Registry::<Number>::default();
            let (mut known, mut numbers) = (Vec::<Known>::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Admit { subscriber: of, hook: to, group } => {
                        let mode = group.map_or(Mode::Broadcast, |group| Mode::work_queue(format!("g{group}")));
                        let admitted = registry.admit(&subscriber(of), &hook(to), &mode, &LIMITS);
                        prop_assert_eq!(admitted.is_ok(), admissible(&known, of, to, group));
                        if let Ok(number) = admitted {
                            prop_assert!(!numbers.contains(&number), "numbers do not come again");
                            numbers.push(number);
                            known.push(Known { number, subscriber: of, hook: to, group, started: false });
                        }
                    }
                    Step::Start { which } if !numbers.is_empty() => {
                        let number = *which.get(&numbers);
                        let entry = known.iter_mut().find(|other| other.number == number);
                        let expected = if entry.is_some() { Ok(()) } else { Err(number) };
                        prop_assert_eq!(registry.started(number, number), expected);
                        if let Some(entry) = entry {
                            entry.started = true;
                        }
                    }
                    Step::Remove { which } if !numbers.is_empty() => {
                        let number = *which.get(&numbers);
                        let expected = known.iter().find(|other| other.number == number && other.started).map(|other| other.number);
                        prop_assert_eq!(registry.remove(number), expected);
                        known.retain(|other| other.number != number);
                    }
                    Step::RemoveAllOf { subscriber: of } => {
                        let expected: Vec<Number> = known.iter().filter(|other| other.subscriber == of && other.started).map(|other| other.number).collect();
                        prop_assert_eq!(registry.remove_all_of(&subscriber(of)), expected);
                        known.retain(|other| other.subscriber != of);
                    }
                    Step::Start { .. } | Step::Remove { .. } => {}
                }
                for number in 0..4 {
                    let found: Vec<Number> = registry.of_hook(&hook(number)).map(|(_, running)| *running).collect();
                    let expected: Vec<Number> = known.iter().filter(|other| other.hook == number && other.started).map(|other| other.number).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            let running = known.iter().filter(|other| other.started).count();
            prop_assert_eq!(registry.stop().len(), running);
            prop_assert_eq!(registry.admit(&subscriber(0), &hook(0), &Mode::Broadcast, &LIMITS), Err(EventError::Stopped));
        }
    }
}
