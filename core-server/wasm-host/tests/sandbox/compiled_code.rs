//! Compiled code on disk: made once, used only when it is this server's own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_platform::plugin::{CodeCache, MaterialisedArtifact, PluginLoader as _};
use checkstack_plugin_package::Digest;

use crate::fixture::{MAC_KEY, Sandbox, ask, code_of, overwrite, services, settings};
use crate::guest;

fn written(artifact: &MaterialisedArtifact) -> SystemTime {
    fs::metadata(code_of(artifact)).unwrap().modified().unwrap()
}

/// What pods share.
#[derive(Default)]
struct Shared(Mutex<BTreeMap<(Digest, String), Bytes>>);

#[async_trait]
impl CodeCache for Shared {
    async fn get(&self, artifact: &Digest, target: &str) -> Option<Bytes> {
        self.0.lock().unwrap().get(&(*artifact, target.to_owned())).cloned()
    }

    async fn put(&self, artifact: &Digest, target: &str, code: Bytes) {
        self.0.lock().unwrap().insert((*artifact, target.to_owned()), code);
    }
}

impl Shared {
    fn pod(self: &Arc<Self>) -> Sandbox {
        Sandbox::sharing(settings(), Some(self.clone()))
    }

    fn only(&self) -> Bytes {
        let shared = self.0.lock().unwrap();
        assert_eq!(shared.len(), 1);
        shared.values().next().unwrap().clone()
    }

    fn replace(&self, code: &[u8]) {
        self.0.lock().unwrap().values_mut().for_each(|kept| *kept = Bytes::copy_from_slice(code));
    }
}

/// No component that could be compiled, but the digest of one.
fn without_component(pod: &Sandbox, artifact: &MaterialisedArtifact) -> MaterialisedArtifact {
    MaterialisedArtifact { digest: artifact.digest, ..pod.artifact(b"") }
}

#[tokio::test]
async fn a_pod_takes_over_what_another_has_compiled() {
    let shared = Arc::new(Shared::default());
    let one = shared.pod();
    let artifact = one.artifact(&guest::plain());
    one.loader.precompile(&artifact).await.unwrap();
    assert_eq!(shared.only(), fs::read(code_of(&artifact)).unwrap());

    let other = shared.pod();
    let theirs = without_component(&other, &artifact);
    assert_works(&other, &theirs).await;
    assert_eq!(fs::metadata(code_of(&theirs)).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(fs::read_dir(&theirs.directory).unwrap().count(), 2, "nothing temporary is left");
}

#[tokio::test]
async fn shared_code_that_is_damaged_or_foreign_is_compiled_and_replaced() {
    let shared = Arc::new(Shared::default());
    let one = shared.pod();
    let artifact = one.artifact(&guest::plain());
    one.loader.precompile(&artifact).await.unwrap();
    let good = shared.only();
    let mut flipped = good.to_vec();
    flipped[good.len() / 2] ^= 1;
    let foreign = foreign_code(&artifact).await;
    for bad in [&b""[..], &flipped, &good[..good.len() - 1], &foreign] {
        shared.replace(bad);
        let other = shared.pod();
        let theirs = other.artifact(&guest::plain());
        assert_works(&other, &theirs).await;
        assert!(shared.only().len() == good.len() && shared.only() != flipped, "the next pod has good code");
        shared.replace(bad);
        let without = without_component(&other, &artifact);
        assert!(other.load_artifact(&without, services()).await.is_err());
        assert_eq!(fs::read_dir(&without.directory).unwrap().count(), 1, "what is not used is not kept");
    }
}

async fn assert_works(sandbox: &Sandbox, artifact: &MaterialisedArtifact) {
    let plugin = sandbox.load_artifact(artifact, services()).await.unwrap();
    plugin.init().await.unwrap();
    assert_eq!(ask(&plugin, "/e", "body").await, (200, "body".into()));
}

#[tokio::test]
async fn code_is_made_once_and_needs_no_component_afterwards() {
    let sandbox = Sandbox::new();
    let artifact = sandbox.artifact(&guest::plain());
    sandbox.loader.precompile(&artifact).await.unwrap();
    assert_eq!(fs::metadata(code_of(&artifact)).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(fs::read_dir(&artifact.directory).unwrap().count(), 2, "nothing temporary is left");

    let first = written(&artifact);
    sandbox.loader.precompile(&artifact).await.unwrap();
    assert_eq!(written(&artifact), first);

    // The init container compiles, another process loads.
    fs::remove_file(&artifact.component).unwrap();
    assert_works(&Sandbox::new(), &artifact).await;
    assert_eq!(written(&artifact), first);
}

#[tokio::test]
async fn damaged_code_is_made_again() {
    let sandbox = Sandbox::new();
    let artifact = sandbox.artifact(&guest::plain());
    sandbox.loader.precompile(&artifact).await.unwrap();
    let good = fs::read(code_of(&artifact)).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut other_tag = good.clone();
    *other_tag.last_mut().unwrap() ^= 1;
    for bad in [&b""[..], b"short", &good[..good.len() - 1], &flipped, &other_tag, &vec![0; 100_000]] {
        overwrite(&code_of(&artifact), bad);
        assert_works(&sandbox, &artifact).await;
        assert_eq!(fs::read(code_of(&artifact)).unwrap().len(), good.len());
        // And what was made again is used.
        fs::rename(&artifact.component, artifact.directory.join("away")).unwrap();
        assert_works(&sandbox, &artifact).await;
        fs::rename(artifact.directory.join("away"), &artifact.component).unwrap();
    }
}

/// What a server writes that has another key.
async fn foreign_code(artifact: &MaterialisedArtifact) -> Vec<u8> {
    let mut key = MAC_KEY;
    key[31] ^= 1;
    let mut foreign = settings();
    foreign.mac_key = key;
    let foreign = Sandbox::with(foreign);
    overwrite(&code_of(artifact), b"");
    foreign.loader.precompile(artifact).await.unwrap();
    fs::read(code_of(artifact)).unwrap()
}

#[tokio::test]
async fn valid_code_of_another_server_is_not_mapped() {
    let sandbox = Sandbox::new();
    let artifact = sandbox.artifact(&guest::plain());
    let foreign = foreign_code(&artifact).await;
    // Without the component there is nothing to fall back to: it fails rather than to trust the file.
    fs::rename(&artifact.component, artifact.directory.join("away")).unwrap();
    assert!(sandbox.load_artifact(&artifact, services()).await.is_err());
    fs::rename(artifact.directory.join("away"), &artifact.component).unwrap();
    assert_works(&sandbox, &artifact).await;
    assert_ne!(fs::read(code_of(&artifact)).unwrap(), foreign);
}

#[tokio::test]
async fn code_of_another_artifact_is_not_mapped() {
    let sandbox = Sandbox::new();
    let mut other = sandbox.artifact(&guest::Guest::default().init("unreachable").component());
    sandbox.loader.precompile(&other).await.unwrap();
    let artifact = sandbox.artifact(&guest::plain());
    fs::rename(code_of(&other), code_of(&artifact)).unwrap();
    assert_works(&sandbox, &artifact).await;
    // Nor that of another component of the same artifact.
    other.digest = artifact.digest;
    other.component = other.directory.join("second.wasm");
    fs::rename(code_of(&artifact), code_of(&other)).unwrap();
    assert!(sandbox.load_artifact(&other, services()).await.is_err());
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_costs_a_compilation_only() {
    let sandbox = Sandbox::new();
    let artifact = sandbox.artifact(&guest::plain());
    // A directory in the place of the file: also for root, who may write anywhere.
    fs::create_dir_all(code_of(&artifact).join("in-the-way")).unwrap();
    assert_works(&sandbox, &artifact).await;
    assert_eq!(fs::read_dir(&artifact.directory).unwrap().count(), 2, "nothing temporary is left");
}

#[tokio::test]
async fn a_component_over_the_limit_is_refused() {
    let mut settings = settings();
    settings.max_component_bytes = 1000;
    let sandbox = Sandbox::with(settings);
    let failure = sandbox.failure(&guest::plain(), services()).await;
    assert!(failure.message.contains("at most 1000 are compiled"), "{failure}");
}

/// A component that takes as long to compile as the test wants: a pipe, which it writes to.
struct Pipe(MaterialisedArtifact);

impl Pipe {
    fn new(sandbox: &Sandbox) -> Self {
        let artifact = sandbox.artifact(&guest::plain());
        fs::remove_file(&artifact.component).unwrap();
        assert!(Command::new("mkfifo").arg(&artifact.component).status().unwrap().success());
        Self(artifact)
    }

    /// Opened for reading too it blocks neither side.
    fn open(&self) -> fs::File {
        fs::OpenOptions::new().read(true).write(true).open(&self.0.component).unwrap()
    }

    /// Ends one reading of it.
    fn finish(&self) {
        let mut pipe = self.open();
        pipe.write_all(&guest::plain()).unwrap();
        // What nobody has read is lost when the last one closes it.
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Drop for Pipe {
    /// A thread that were still waiting would keep a test that fails from ending.
    fn drop(&mut self) {
        drop(self.open());
    }
}

const A_WHILE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_compilation_that_was_given_up_is_joined_and_not_begun_again() {
    let sandbox = Sandbox::new();
    let pipe = Pipe::new(&sandbox);
    assert!(tokio::time::timeout(A_WHILE, sandbox.loader.precompile(&pipe.0)).await.is_err());
    // Two readings would each get a part of the component, and the second would never end.
    let (one, other, ()) = tokio::join!(sandbox.loader.precompile(&pipe.0), sandbox.loader.precompile(&pipe.0), async {
        tokio::time::sleep(A_WHILE).await;
        pipe.finish();
    });
    assert_eq!((one, other), (Ok(()), Ok(())));
    assert!(code_of(&pipe.0).exists());
}

#[tokio::test]
async fn a_compilation_that_was_given_up_counts_until_it_ends() {
    let mut settings = settings();
    settings.max_concurrent_compilations = 1;
    let sandbox = Sandbox::with(settings);
    let (pipe, other) = (Pipe::new(&sandbox), sandbox.artifact(&guest::Guest::default().pages(3).component()));
    for _ in 0..3 {
        assert!(tokio::time::timeout(A_WHILE, sandbox.loader.precompile(&pipe.0)).await.is_err());
    }
    assert!(tokio::time::timeout(A_WHILE, sandbox.loader.precompile(&other)).await.is_err());
    assert!(!code_of(&other).exists(), "there is one slot, and it is taken");
    pipe.finish();
    sandbox.loader.precompile(&other).await.unwrap();
}
