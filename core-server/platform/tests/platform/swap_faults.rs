//! Something goes away in the middle of a swap: the old version serves, and the new one comes when it can.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use checkstack_control_api::report::{PluginReason, PluginState};

use crate::instance::{Instance, Pod, Reported as _, no_native_parts, set};
use crate::packages::{Package, package, package_with};
use crate::postgres::Postgres;
use crate::scripted::{Script, Step};

const SLOW: Step = Step::Takes(Duration::from_millis(800));

async fn version(pod: &Pod) -> String {
    let (status, answer) = pod.json("/api/uptime/").await;
    assert_eq!(status, 200, "{answer}");
    answer["plugin"].as_str().unwrap().to_owned()
}

/// The version with this number, with all migrations up to its own; the last takes some time.
fn numbered(number: usize) -> Package {
    let migrations: Vec<(String, String)> = (1..=number)
        .map(|step| (format!("{step:04}_t{step}"), format!("-- checkstack: additive\nCREATE TABLE t{step} (id int); SELECT pg_sleep(0.5)")))
        .collect();
    let migrations: Vec<(&str, &str)> = migrations.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    package_with(&format!("uptime@1.{number}.0"), &[], &migrations)
}

#[tokio::test]
async fn the_database_is_lost_in_each_step() {
    let server = Arc::new(Postgres::start());
    let instance = Instance::with(&server).await;
    let pod = instance.pod("pod").await;
    assert!(pod.run(1, &[&numbered(1)]).await.is_active("uptime"));
    let scripts = [
        ("fetch", Script::default(), 0),
        ("load", Script { load: SLOW, ..Script::default() }, 400),
        ("migrate", Script::default(), 400),
        ("init", Script { init: SLOW, ..Script::default() }, 1000),
        ("ready", Script { ready: SLOW, ..Script::default() }, 1000),
    ];
    for (number, (step, script, milliseconds)) in (2..).zip(scripts) {
        let (before, new) = (format!("uptime@1.{}.0", number - 1), numbered(number));
        instance.scripts.set(&format!("uptime@1.{number}.0"), script);
        pod.upload(&new).await;
        if step == "fetch" {
            server.stop();
        }
        pod.deliver(&set(number as u64, &[&new])).await;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        if step != "fetch" {
            server.stop();
        }
        for _ in 0..10 {
            let serves = version(&pod).await;
            assert!(serves == before || serves == format!("uptime@1.{number}.0"), "{step}: {serves}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.run();
        let report = pod.wait_for(|report| report.is_active("uptime")).await;
        assert!(report.settled, "{step}");
        assert_eq!(version(&pod).await, format!("uptime@1.{number}.0"), "{step}");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'plugin_uptime' AND tablename LIKE 't_'";
        assert_eq!(instance.database.value::<i64>(tables).await, number as i64, "{step}");
    }
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        Self(at.to_owned())
    }

    fn grow(&self, size: &str) {
        run("mount", &["-o", &format!("remount,size={size}"), self.0.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", self.0.to_str().unwrap()]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program} {arguments:?}: this test needs root");
}

#[tokio::test]
async fn the_disk_is_full() {
    let instance = Instance::new().await;
    let settings = instance.settings("pod");
    let disk = Disk::mount(&settings.state_directory, "64k");
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    assert!(pod.run(1, &[&package("uptime@1.0.0", &[])]).await.is_active("uptime"));

    let large = "x".repeat(256 * 1024);
    let new = package_with("uptime@1.1.0", &[], &[("0001_large", &format!("-- checkstack: additive\nSELECT '{large}'"))]);
    let report = pod.run(2, &[&new]).await;
    let uptime = report.plugin("uptime");
    assert_eq!((uptime.state, uptime.reason, uptime.terminal), (PluginState::Failed, PluginReason::Internal, false));
    assert!(uptime.message.contains("could not be written to the state directory: No space left on device"), "{}", uptime.message);
    assert_eq!(version(&pod).await, "uptime@1.0.0");
    let left: Vec<_> = std::fs::read_dir(disk.0.join("artifacts")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "nothing half done is left: {left:?}");

    disk.grow("16m");
    pod.wait_for(|report| report.is_active("uptime")).await;
    assert_eq!(version(&pod).await, "uptime@1.1.0");
}
