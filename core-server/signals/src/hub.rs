//! The sockets of this replica, by what they hear: all hear broadcasts, those of a user what is for that user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use checkstack_sockets::{CloseReason, SocketSender, Utf8Bytes};

/// Signals may have been missed: who has a copy of something should read it again.
const MISSED: CloseReason = CloseReason::new(1013, "signals may have been missed");

/// See the module.
#[derive(Debug, Default)]
pub struct Hub {
    topics: Mutex<Topics>,
    broadcasts: AtomicU64,
    to_users: AtomicU64,
    delivered: AtomicU64,
    slow: AtomicU64,
}

#[derive(Debug, Default)]
struct Topics {
    next: u64,
    sockets: HashMap<u64, Member>,
    /// Sockets of each user who has any.
    users: HashMap<Arc<str>, Vec<u64>>,
}

#[derive(Debug)]
struct Member {
    sender: SocketSender,
    user: Option<Arc<str>>,
}

/// What has happened so far on this replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sockets that are open now.
    pub open: u64,
    /// Broadcasts that were sent from here.
    pub broadcasts: u64,
    /// Signals to users that were sent from here, however many users each was for.
    pub to_users: u64,
    /// Messages that were put into the queues of sockets.
    pub delivered: u64,
    /// Sockets that were closed because they did not keep up.
    pub slow: u64,
}

/// A socket hears signals until this is dropped.
#[derive(Debug)]
pub struct Membership {
    number: u64,
    hub: Arc<Hub>,
}

impl Hub {
    /// Has a socket hear what is for everybody, and what is for its user if there is one. `greeting` comes before everything else.
    pub fn join(self: &Arc<Self>, sender: SocketSender, user: Option<&str>, greeting: Utf8Bytes) -> Membership {
        let mut topics = self.topics();
        // Nothing else can be in the queue before it is a member. If it has ended by now, it is about to leave.
        let _ = sender.send(greeting);
        let number = topics.next;
        topics.next += 1;
        let user: Option<Arc<str>> = user.map(|user| match topics.users.get_key_value(user) {
            Some((known, _)) => known.clone(),
            None => user.into(),
        });
        if let Some(user) = &user {
            topics.users.entry(user.clone()).or_default().push(number);
        }
        topics.sockets.insert(number, Member { sender, user });
        Membership { number, hub: self.clone() }
    }

    /// To every socket.
    pub(crate) fn deliver_to_all(&self, text: &Utf8Bytes) {
        let mut topics = self.topics();
        let all = topics.sockets.iter().map(|(number, member)| (*number, &member.sender));
        let slow = self.send(all, text);
        topics.leave_all(slow);
    }

    /// To the sockets of these users.
    pub(crate) fn deliver_to_users(&self, users: &[String], text: &Utf8Bytes) {
        let mut topics = self.topics();
        let numbers = users.iter().filter_map(|user| topics.users.get(user.as_str())).flatten();
        let of_users = numbers.filter_map(|number| topics.sockets.get(number).map(|member| (*number, &member.sender)));
        let slow = self.send(of_users, text);
        topics.leave_all(slow);
    }

    /// Into the queues, without waiting. Those that are of no more use, because nothing more may come after what they lack.
    fn send<'a>(&self, sockets: impl Iterator<Item = (u64, &'a SocketSender)>, text: &Utf8Bytes) -> Vec<u64> {
        let (mut delivered, mut gone) = (0, Vec::new());
        for (number, sender) in sockets {
            match sender.send(text.clone()) {
                Ok(()) => delivered += 1,
                Err(_) => gone.push(number),
            }
        }
        self.delivered.fetch_add(delivered, Ordering::Relaxed);
        gone
    }

    /// Closes all: who connects again asks for what there is.
    pub(crate) fn missed(&self) {
        let topics = self.topics();
        topics.sockets.values().for_each(|member| member.sender.close(MISSED));
    }

    pub(crate) fn sent_broadcast(&self) {
        self.broadcasts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent_to_users(&self) {
        self.to_users.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket did not keep up.
    pub(crate) fn closed_for_being_slow(&self) {
        self.slow.fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    pub fn statistics(&self) -> Statistics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            open: u64::try_from(self.topics().sockets.len()).unwrap_or(u64::MAX),
            broadcasts: count(&self.broadcasts),
            to_users: count(&self.to_users),
            delivered: count(&self.delivered),
            slow: count(&self.slow),
        }
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topics {
    fn leave_all(&mut self, numbers: Vec<u64>) {
        numbers.into_iter().for_each(|number| self.leave(number));
    }

    fn leave(&mut self, number: u64) {
        let Some(Member { user: Some(user), .. }) = self.sockets.remove(&number) else { return };
        let Some(numbers) = self.users.get_mut(&user) else { return };
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.users.remove(&user);
        }
    }
}

#[cfg(test)]
impl Membership {
    /// Whether the hub has given the socket up.
    fn is_over(&self) -> bool {
        !self.hub.topics().sockets.contains_key(&self.number)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.topics().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use checkstack_sockets::{Outbox, Rules, queue};
    use proptest::prelude::*;

    use super::*;

    fn join(hub: &Arc<Hub>, user: Option<&str>) -> (Membership, SocketSender, Outbox) {
        let (sender, outbox) = queue(&Rules { waiting_messages: 3, ..Rules::default() });
        (hub.join(sender.clone(), user, "hello".into()), sender, outbox)
    }

    #[test]
    fn everybody_hears_broadcasts_and_users_what_is_theirs() {
        let hub = Arc::new(Hub::default());
        let (_ada, _bob, _nobody) = (join(&hub, Some("ada")), join(&hub, Some("bob")), join(&hub, None));
        let delivered = || hub.statistics().delivered;
        hub.deliver_to_all(&"all".into());
        assert_eq!(delivered(), 3);
        hub.deliver_to_users(&["ada".into(), "cid".into(), "anonymous".into()], &"ada".into());
        assert_eq!(delivered(), 4);
    }

    #[test]
    fn who_does_not_keep_up_hears_nothing_more_and_others_do() {
        let hub = Arc::new(Hub::default());
        let (slow, quick) = (join(&hub, Some("ada")), join(&hub, Some("ada")));
        let mut quick_outbox = quick.2;
        for number in 0..5 {
            hub.deliver_to_users(&["ada".into()], &number.to_string().into());
            while quick_outbox.try_next().is_some() {}
        }
        assert!(!slow.1.is_open() && slow.0.is_over() && quick.1.is_open() && !quick.0.is_over());
        let Statistics { open, delivered, .. } = hub.statistics();
        assert_eq!((open, delivered), (1, 2 + 5), "the greeting is one of the three that may wait");
    }

    #[test]
    fn when_something_was_missed_all_are_closed() {
        let hub = Arc::new(Hub::default());
        let members = [join(&hub, Some("ada")), join(&hub, None)];
        hub.missed();
        assert!(members.iter().all(|(_, sender, _)| !sender.is_open()));
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_leaves_nothing_behind(steps in proptest::collection::vec((0..4_u8, any::<bool>()), 0..60)) {
            let hub = Arc::new(Hub::default());
            let mut members: Vec<(u8, (Membership, SocketSender, Outbox))> = Vec::new();
            for (user, leaves) in steps {
                let of_user = members.iter().position(|(other, _)| *other == user);
                match (leaves, of_user) {
                    (true, Some(place)) => drop(members.swap_remove(place)),
                    (true, None) => {}
                    (false, _) => members.push((user, join(&hub, (user > 0).then(|| user.to_string()).as_deref()))),
                }
                let before = hub.statistics().delivered;
                hub.deliver_to_users(&[user.to_string()], &"x".into());
                let reached = members.iter().filter(|(other, (membership, ..))| *other == user && user > 0 && !membership.is_over());
                // Those that have just been given up were not reached.
                prop_assert_eq!(hub.statistics().delivered - before, reached.count() as u64);
                members.retain(|(_, (membership, ..))| !membership.is_over());
                prop_assert_eq!(hub.statistics().open, members.len() as u64);
            }
            members.clear();
            let topics = hub.topics();
            prop_assert!(topics.sockets.is_empty() && topics.users.is_empty());
        }
    }
}
