//! A cluster in which everything happens in any order and takes as long as it may.

use super::*;

/// The kubelet's, for what it mounts into a pod.
const MOUNT_LAG: i64 = 120;
/// The kubelet's, for what a pod starts with.
const START_LAG: i64 = 10;
/// The operator's, for which pods there are.
const VIEW_LAG: i64 = 15;

#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// Time passes.
    Pass(i64),
    /// A pod starts, with what the kubelet saw so long ago.
    Start {
        seconds_ago: i64,
    },
    /// The kubelet brings what is mounted up to date.
    Refresh(usize),
    /// A pod answers no more, or again.
    Silence(usize),
    Answer(usize),
    Stop(usize),
    /// Somebody asks for another key.
    Request,
    /// The operator asks the pods.
    Ask,
    /// It reconciles; publishing the plugin set may fail.
    Reconcile {
        publishes: bool,
    },
    /// It ends, and another one begins.
    Restart,
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1..400_i64).prop_map(Happening::Pass),
        1 => (0..=START_LAG).prop_map(|seconds_ago| Happening::Start { seconds_ago }),
        3 => (0..8_usize).prop_map(Happening::Refresh),
        1 => (0..8_usize).prop_map(Happening::Silence),
        2 => (0..8_usize).prop_map(Happening::Answer),
        1 => (0..8_usize).prop_map(Happening::Stop),
        1 => Just(Happening::Request),
        4 => Just(Happening::Ask),
        8 => prop::bool::weighted(0.9).prop_map(|publishes| Happening::Reconcile { publishes }),
        1 => Just(Happening::Restart),
    ]
}

struct Pod {
    name: String,
    /// Which version of the Secret is mounted.
    mounted: usize,
    answers: bool,
}

pub(crate) struct Cluster {
    now: i64,
    rotation: KeyRotation,
    /// What was in the Secret, and since when.
    secrets: Vec<(i64, Secret)>,
    /// With which key the published set was signed, and since when.
    published: Vec<(i64, String)>,
    pods: Vec<Pod>,
    started: usize,
    request: Option<String>,
    /// Of the running operator: the key it signs with, since when it has published with it, and
    /// the pods as they were when.
    signing: SigningKey,
    publishing: Option<(String, i64)>,
    view: Option<(i64, FleetView)>,
    pub(crate) steps: Vec<Step>,
}

/// What was so at a time.
fn index_at<T>(history: &[(i64, T)], time: i64) -> usize {
    history.iter().rposition(|(since, _)| *since <= time).unwrap_or(0)
}

impl Cluster {
    pub(crate) fn new(pods: usize) -> Self {
        let ring = KeyRing::generate(None, at(0).0).unwrap();
        let signing = ring.keys.signing.clone();
        let mut cluster = Self {
            now: 0,
            rotation: ROTATION,
            secrets: vec![(0, ring.to_secret(&instance(json!({}))).unwrap())],
            published: vec![(0, signing.key_id().to_owned())],
            pods: Vec::new(),
            started: 0,
            request: None,
            signing,
            publishing: None,
            view: None,
            steps: Vec::new(),
        };
        (0..pods).for_each(|_| cluster.start(0));
        cluster
    }

    fn ring(&self, version: usize) -> KeyRing {
        KeyRing::from_secret(&self.secrets[version].1).unwrap()
    }

    pub(crate) fn happens(&mut self, happening: &Happening) {
        match happening {
            Happening::Pass(seconds) => self.pass(*seconds),
            Happening::Start { seconds_ago } => self.start(*seconds_ago),
            Happening::Refresh(pod) => {
                let newest = self.secrets.len() - 1;
                self.with_pod(*pod, |pod| pod.mounted = newest);
            }
            Happening::Silence(pod) => {
                self.with_pod(*pod, |pod| pod.answers = false);
                self.pass(0);
            }
            Happening::Answer(pod) => self.with_pod(*pod, |pod| pod.answers = true),
            Happening::Stop(pod) if *pod < self.pods.len() => drop(self.pods.remove(*pod)),
            Happening::Stop(_) => {}
            Happening::Request => self.request = Some(self.now.to_string()),
            Happening::Ask => self.ask(),
            Happening::Reconcile { publishes } => self.reconcile(*publishes),
            Happening::Restart => (self.view, self.publishing) = (None, None),
        }
        self.every_pod_accepts_what_the_operator_signs();
    }

    fn with_pod(&mut self, index: usize, change: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.pods.get_mut(index) {
            change(pod);
        }
    }

    /// A pod that answers may have a kubelet that hangs: nothing is assumed of it. For one that does
    /// not, the kubelet takes its time and no more.
    fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        let oldest = index_at(&self.secrets, self.now - MOUNT_LAG);
        for pod in self.pods.iter_mut().filter(|pod| !pod.answers) {
            pod.mounted = pod.mounted.max(oldest);
        }
    }

    fn start(&mut self, seconds_ago: i64) {
        let (mounted, newest) = (index_at(&self.secrets, self.now - seconds_ago), self.secrets.len() - 1);
        let sets = [index_at(&self.published, self.now - seconds_ago), self.published.len() - 1];
        for (version, set) in [mounted, newest].into_iter().flat_map(|version| sets.map(|set| (version, set))) {
            let (accepted, key) = (self.ring(version).public, &self.published[set].1);
            assert!(accepted.contains(key), "a pod that starts cannot use the published set, after {:?}", self.steps);
        }
        self.started += 1;
        self.pods.push(Pod { name: format!("pod-{}", self.started), mounted, answers: false });
    }

    fn ask(&mut self) {
        let view = self.pods.iter().map(|pod| match pod.answers {
            true => telling(&pod.name, ids(&self.ring(pod.mounted).public)),
            false => silent_pod(&pod.name, false, Observation::Starting { waiting: None }),
        });
        self.view = Some((self.now, fleet(target(Vec::new()), view.collect())));
    }

    fn reconcile(&mut self, publishes: bool) {
        if self.view.as_ref().is_some_and(|(seen, _)| self.now - seen > VIEW_LAG) {
            self.ask();
        }
        if !publishes {
            return;
        }
        let ring = self.ring(self.secrets.len() - 1);
        self.signing = ring.keys.signing.clone();
        let key = self.signing.key_id().to_owned();
        self.published.push((self.now, key.clone()));
        let since = self.publishing.take().filter(|(publishing, _)| *publishing == key).map_or(self.now, |(_, since)| since);
        self.publishing = Some((key, since));
        let circumstances = Circumstances {
            rotation: &self.rotation,
            request: self.request.as_deref(),
            fleet: self.view.as_ref().map(|(_, view)| view),
            published_for: Duration::from_secs(u64::try_from(self.now - since).unwrap()),
            now: at(self.now).0,
        };
        let Decision::Do(step) = decide(&ring, &circumstances) else { return };
        let next = match step {
            Step::Announce => ring.announce(self.request.as_deref(), at(self.now).0).unwrap(),
            Step::Switch => ring.switch(at(self.now).0),
            Step::Retire => ring.retire(),
        };
        self.steps.push(step);
        self.secrets.push((self.now, next.to_secret(&instance(json!({}))).unwrap()));
    }

    /// With the key that it uses, and with the one that it will use when it has read the Secret.
    fn every_pod_accepts_what_the_operator_signs(&self) {
        let newest = self.ring(self.secrets.len() - 1).keys.signing;
        for pod in &self.pods {
            let accepted = self.ring(pod.mounted).public;
            for key in [&self.signing, &newest] {
                let request = ExpectedRequest { instance: "monitoring/main", method: "POST", path: "/" };
                let token = token::sign(key, request.instance, request.method, request.path, None, SystemTime::now()).unwrap();
                let verified = token::verify(Some(&format!("Bearer {token}")), &accepted, request, SystemTime::now());
                assert!(verified.is_ok(), "{} refuses a call: {verified:?}, after {:?}", pod.name, self.steps);
            }
        }
    }

    /// Lets everything come to rest: pods answer, the kubelet works, the operator too. Nothing begins
    /// because of the time that this takes.
    pub(crate) fn settle(&mut self) {
        self.rotation.period = None;
        for _ in 0..6 {
            let newest = self.secrets.len() - 1;
            self.pods.iter_mut().for_each(|pod| (pod.answers, pod.mounted) = (true, newest));
            self.ask();
            for passing in [0, 600] {
                self.pass(passing);
                self.happens(&Happening::Reconcile { publishes: true });
            }
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        let ring = self.ring(self.secrets.len() - 1);
        ring.next.is_none() && !ring.has_retired_keys()
    }

    pub(crate) fn signing_key(&self) -> String {
        self.ring(self.secrets.len() - 1).keys.signing.key_id().to_owned()
    }
}
