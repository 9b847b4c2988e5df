#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cluster;

use std::sync::Arc;
use std::time::SystemTime;

use checkstack_control_api::token::{self, ExpectedRequest};
use checkstack_control_api::{SigningKey, VerifyingKeys};
use k8s_openapi::api::core::v1::Secret;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixtures::{at, fleet, instance, pod, silent_pod, target};
use crate::fleet::Observation;

const ROTATION: KeyRotation = KeyRotation {
    period: Some(Duration::from_secs(10_000)),
    propagation: Duration::from_secs(600),
    settling: Duration::from_secs(30),
    grace: Duration::from_secs(300),
};

/// A ready pod that says which keys it accepts.
fn telling(name: &str, keys: Vec<String>) -> PodView {
    let mut pod = pod(name, &target(Vec::new()), Vec::new());
    if let Observation::Reported(report) = &mut pod.observation {
        Arc::make_mut(report).accepted_keys = keys;
    }
    pod
}

fn ids(keys: &VerifyingKeys) -> Vec<String> {
    keys.key_ids().map(str::to_owned).collect()
}

mod decisions {
    use super::*;

    const BEGIN: i64 = 1_000_000;

    fn ring() -> KeyRing {
        KeyRing::generate(None, at(BEGIN).0).unwrap()
    }

    fn decide_at<'a>(ring: &KeyRing, second: i64, change: impl FnOnce(&mut Circumstances<'a>)) -> Decision {
        let mut circumstances =
            Circumstances { rotation: &ROTATION, request: None, fleet: None, published_for: Duration::ZERO, now: at(BEGIN + second).0 };
        change(&mut circumstances);
        decide(ring, &circumstances)
    }

    fn wait(seconds: u64) -> Decision {
        Decision::Wait(Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn a_key_is_exchanged_when_it_is_old() {
        assert_eq!(decide_at(&ring(), 0, |_| ()), wait(10_000));
        assert_eq!(decide_at(&ring(), 9_999, |_| ()), wait(1));
        assert_eq!(decide_at(&ring(), 10_000, |_| ()), Decision::Do(Step::Announce));
        // A clock that was put back is no reason.
        assert_eq!(decide_at(&ring(), -500_000, |_| ()), wait(10_000));
        let never = KeyRotation { period: None, ..ROTATION };
        assert_eq!(decide_at(&ring(), 1_000_000, |now| now.rotation = &never), Decision::Wait(None));
    }

    #[test]
    fn a_key_is_exchanged_once_for_each_request() {
        assert_eq!(decide_at(&ring(), 0, |now| now.request = Some("1")), Decision::Do(Step::Announce));
        let complied = ring().announce(Some("1"), at(BEGIN).0).unwrap().switch(at(BEGIN).0).retire();
        assert_eq!(decide_at(&complied, 0, |now| now.request = Some("1")), wait(10_000));
        assert_eq!(decide_at(&complied, 0, |now| now.request = None), wait(10_000));
        assert_eq!(decide_at(&complied, 0, |now| now.request = Some("2")), Decision::Do(Step::Announce));
        // Keys that are as old as the request are what was asked for.
        let made = KeyRing::generate(Some("1"), at(BEGIN).0).unwrap();
        assert_eq!(decide_at(&made, 0, |now| now.request = Some("1")), wait(10_000));
    }

    #[test]
    fn the_operator_signs_with_a_new_key_when_every_pod_says_that_it_accepts_it() {
        let announced = ring().announce(None, at(BEGIN).0).unwrap();
        let (old, both) = (ids(&ring().public), ids(&announced.public));
        let decide = |second, pods: Vec<PodView>| {
            let fleet = fleet(target(Vec::new()), pods);
            decide_at(&announced, second, |now| now.fleet = Some(&fleet))
        };
        let accepting = |name| telling(name, both.clone());
        assert_eq!(decide(30, vec![accepting("a"), accepting("b")]), Decision::Do(Step::Switch));
        // Not before every pod is known.
        assert_eq!(decide(10, vec![accepting("a"), accepting("b")]), wait(20));
        // However long it takes.
        assert_eq!(decide(100_000, vec![accepting("a"), telling("b", old)]), Decision::Wait(None));
        // Those that say nothing, and those that may be.
        for silent in [silent_pod("b", false, Observation::Starting { waiting: None }), telling("b", Vec::new())] {
            assert_eq!(decide(599, vec![accepting("a"), silent.clone()]), wait(1));
            assert_eq!(decide(600, vec![accepting("a"), silent]), Decision::Do(Step::Switch));
        }
        assert_eq!(decide(599, vec![]), wait(1));
        assert_eq!(decide(600, vec![]), Decision::Do(Step::Switch));
    }

    #[test]
    fn pods_that_never_learn_the_key_are_named() {
        let announced = ring().announce(None, at(BEGIN).0).unwrap();
        let pods = vec![
            telling("a", ids(&announced.public)),
            telling("b", ids(&ring().public)),
            silent_pod("c", false, Observation::Starting { waiting: None }),
        ];
        let fleet = fleet(target(Vec::new()), pods);
        let named = |ring: &KeyRing, second| {
            let now = at(BEGIN + second).0;
            let circumstances =
                Circumstances { rotation: &ROTATION, request: None, fleet: Some(&fleet), published_for: Duration::ZERO, now };
            behind(ring, &circumstances).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named(&announced, 600), [""; 0]);
        assert_eq!(named(&announced, 601), ["b"]);
        assert_eq!(named(&ring(), 601), [""; 0]);
    }

    #[test]
    fn nothing_is_concluded_before_the_pods_have_been_asked() {
        let announced = ring().announce(None, at(BEGIN).0).unwrap();
        assert_eq!(decide_at(&announced, 100_000, |_| ()), Decision::Wait(None));
        let incomplete = FleetView { complete: false, ..fleet(target(Vec::new()), vec![]) };
        assert_eq!(decide_at(&announced, 100_000, |now| now.fleet = Some(&incomplete)), Decision::Wait(None));
    }

    #[test]
    fn the_old_key_is_accepted_until_nothing_signed_with_it_is_around() {
        let switched = ring().announce(None, at(BEGIN).0).unwrap().switch(at(BEGIN).0);
        // However long ago: the published set may be the one from before.
        assert_eq!(decide_at(&switched, 100_000, |_| ()), wait(300));
        assert_eq!(decide_at(&switched, 0, |now| now.published_for = Duration::from_secs(299)), wait(1));
        assert_eq!(decide_at(&switched, 0, |now| now.published_for = Duration::from_secs(300)), Decision::Do(Step::Retire));
        // One exchange after the other.
        assert_eq!(decide_at(&switched, 0, |now| now.request = Some("1")), wait(300));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_every_pod_accepts_what_the_operator_signs(
        pods in 0..4_usize,
        happenings in prop::collection::vec(cluster::happening(), 0..120),
    ) {
        let mut cluster = cluster::Cluster::new(pods);
        happenings.iter().for_each(|happening| cluster.happens(happening));
    }

    #[test]
    fn a_rotation_that_was_asked_for_comes_to_its_end(
        happenings in prop::collection::vec(cluster::happening(), 0..60),
    ) {
        let mut cluster = cluster::Cluster::new(2);
        happenings.iter().for_each(|happening| cluster.happens(happening));
        cluster.settle();
        prop_assert!(cluster.is_at_rest(), "{:?}", cluster.steps);
        let before = cluster.signing_key();
        cluster.happens(&cluster::Happening::Pass(1));
        cluster.happens(&cluster::Happening::Request);
        cluster.settle();
        prop_assert!(cluster.is_at_rest(), "{:?}", cluster.steps);
        prop_assert_ne!(cluster.signing_key(), before);
    }
}
