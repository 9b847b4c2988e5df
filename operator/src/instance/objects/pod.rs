//! The core server's pods: the contract of docs/architecture.md, under pod security `restricted`.

use std::collections::BTreeMap;

use checkstack_control_api::keys::{PUBLIC_KEYS_FILE, SEALING_KEY_FILE};
use checkstack_control_api::paths;
use checkstack_control_api::sign_in::{CA_BUNDLE_FILE, CLIENT_SECRET_FILE};
use checkstack_crds::Checkstack;
use checkstack_crds::checkstack::OidcSpec;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
    Lifecycle, LifecycleHandler, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretKeySelector, SecretProjection, SecretVolumeSource, SecurityContext,
    SleepAction, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{PodInputs, non_empty, non_empty_list, sign_in, telemetry};
use crate::names;

/// Owner and group may read; nobody may write.
const READABLE: i32 = 0o440;
/// Unpacked and compiled plugins.
const STATE_SIZE: &str = "2Gi";
/// Scratch space.
const TMP_SIZE: &str = "64Mi";
/// How long a pod that is to stop goes on serving, until no Service sends requests to it any more.
const PRE_STOP_SECONDS: i64 = 5;

const SERVER: &str = "/usr/local/bin/checkstack-server";
const PLUGIN_SET_DIR: &str = "/etc/checkstack/plugin-set";
const PLUGIN_CONFIG_DIR: &str = "/etc/checkstack/plugin-config";
const KEYS_DIR: &str = "/etc/checkstack/keys";
const ADMIN_DIR: &str = "/etc/checkstack/admin";
const ENCRYPTION_DIR: &str = "/etc/checkstack/encryption";
const SECRETS_DIR: &str = "/etc/checkstack/secrets";
const OIDC_DIR: &str = "/etc/checkstack/oidc";
const STATE_DIR: &str = "/var/lib/checkstack";

pub(super) fn pod_template(instance: &Checkstack, inputs: &PodInputs<'_>) -> PodTemplateSpec {
    let name = instance.name_any();
    let extra = &instance.spec.pod_template;
    let mut labels = extra.labels.clone();
    labels.extend(names::instance_labels(&name));
    let mut annotations = extra.annotations.clone();
    annotations.insert(names::DATABASE_CHECKSUM.to_owned(), inputs.database_checksum.to_owned());
    annotations.insert(names::KEYS_CHECKSUM.to_owned(), inputs.keys_checksum.to_owned());
    annotations.extend(inputs.set_hash.map(|hash| (names::SET_HASH.to_owned(), hash.to_owned())));
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), names::CORE_CONTAINER.to_owned());
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            service_account_name: Some(name.clone()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security(inputs.run_as_user)),
            termination_grace_period_seconds: Some(extra.termination_grace_period_seconds),
            image_pull_secrets: non_empty_list(&pull_secrets(instance)),
            init_containers: Some(vec![materialise_container(instance, inputs)]),
            containers: vec![core_container(instance, inputs)],
            volumes: Some(all_volumes(instance)),
            node_selector: non_empty(&extra.node_selector),
            tolerations: non_empty_list(&extra.tolerations),
            affinity: extra.affinity.clone(),
            topology_spread_constraints: Some(spread(instance)).filter(|constraints| !constraints.is_empty()),
            priority_class_name: extra.priority_class_name.clone(),
            ..PodSpec::default()
        }),
    }
}

fn core_container(instance: &Checkstack, inputs: &PodInputs<'_>) -> Container {
    let grace = instance.spec.pod_template.termination_grace_period_seconds;
    Container {
        name: names::CORE_CONTAINER.to_owned(),
        args: Some(vec!["serve".to_owned()]),
        ports: Some(vec![ContainerPort {
            name: Some(names::HTTP_PORT_NAME.to_owned()),
            container_port: names::HTTP_PORT,
            // Part of the key of the list: server-side apply needs it.
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        startup_probe: Some(probe(paths::HEALTH, Timing { period: 1, timeout: 2, failures: 60 })),
        liveness_probe: Some(probe(paths::HEALTH, Timing { period: 10, timeout: 5, failures: 3 })),
        readiness_probe: Some(probe(paths::READY, Timing { period: 2, timeout: 5, failures: 2 })),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: PRE_STOP_SECONDS.min(grace / 3) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        ..base_container(
            instance,
            inputs,
            mounts().into_iter().chain(mounts_of_core(instance)).collect(),
            telemetry::environment(&instance.spec),
        )
    }
}

fn materialise_container(instance: &Checkstack, inputs: &PodInputs<'_>) -> Container {
    Container {
        name: names::MATERIALISE_CONTAINER.to_owned(),
        args: Some(vec!["materialise".to_owned()]),
        ..base_container(instance, inputs, mounts(), Vec::new())
    }
}

/// What both containers have, with these mounts and variables.
fn base_container(instance: &Checkstack, inputs: &PodInputs<'_>, mounts: Vec<VolumeMount>, variables: Vec<EnvVar>) -> Container {
    let spec = &instance.spec;
    let image = if spec.image.is_empty() { inputs.default_image } else { &spec.image };
    Container {
        image: Some(image.to_owned()),
        image_pull_policy: spec.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        command: Some(vec![SERVER.to_owned()]),
        env: Some(environment(instance, variables)),
        resources: Some(spec.resources.clone()).filter(|resources| *resources != ResourceRequirements::default()),
        security_context: Some(container_security()),
        // What it said last is part of the pod's status, and of what the operator says about it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn environment(instance: &Checkstack, more: Vec<EnvVar>) -> Vec<EnvVar> {
    let plain = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let database = &instance.spec.database.url_secret_ref;
    let database_url = EnvVarSource {
        secret_key_ref: Some(SecretKeySelector { name: database.name.clone(), key: database.key.clone(), optional: None }),
        ..EnvVarSource::default()
    };
    let pod_name = EnvVarSource {
        // The version is a default that server-side apply would otherwise not know to be ours.
        field_ref: Some(ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.name".to_owned() }),
        ..EnvVarSource::default()
    };
    let mut environment = vec![
        EnvVar { name: "DATABASE_URL".to_owned(), value: None, value_from: Some(database_url) },
        plain("CHECKSTACK_INSTANCE", format!("{}/{}", instance.namespace().unwrap_or_default(), instance.name_any())),
        EnvVar { name: "CHECKSTACK_POD_NAME".to_owned(), value: None, value_from: Some(pod_name) },
        plain("CHECKSTACK_LISTEN", format!("[::]:{port},0.0.0.0:{port}", port = names::HTTP_PORT)),
        plain("CHECKSTACK_PLUGIN_SET_DIR", PLUGIN_SET_DIR.to_owned()),
        plain("CHECKSTACK_PLUGIN_CONFIG_DIR", PLUGIN_CONFIG_DIR.to_owned()),
        plain("CHECKSTACK_KEYS_DIR", KEYS_DIR.to_owned()),
        plain("CHECKSTACK_ADMIN_DIR", ADMIN_DIR.to_owned()),
        plain("CHECKSTACK_ENCRYPTION_DIR", ENCRYPTION_DIR.to_owned()),
        plain("CHECKSTACK_SECRETS_DIR", SECRETS_DIR.to_owned()),
        plain("CHECKSTACK_STATE_DIR", STATE_DIR.to_owned()),
    ];
    environment.extend(sign_in::environment(&instance.spec, OIDC_DIR).into_iter().map(|(name, value)| plain(name, value)));
    environment.extend(more);
    // A name that occurs twice is refused by the API server; the operator's own settings win.
    let own: Vec<String> = environment.iter().map(|variable| variable.name.clone()).collect();
    environment.extend(instance.spec.pod_template.env.iter().filter(|variable| !own.contains(&variable.name)).cloned());
    environment
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: read_only.then_some(true), ..VolumeMount::default() }
}

/// What each needs.
fn mounts() -> Vec<VolumeMount> {
    vec![
        mount("plugin-set", PLUGIN_SET_DIR, true),
        mount("plugin-config", PLUGIN_CONFIG_DIR, true),
        mount("keys", KEYS_DIR, true),
        mount("state", STATE_DIR, false),
        mount("tmp", "/tmp", false),
    ]
}

/// What only those need who sign people in and initialise plugins.
fn mounts_of_core(instance: &Checkstack) -> impl Iterator<Item = VolumeMount> {
    let oidc = instance.spec.sign_in.oidc.as_ref().map(|_| mount("oidc", OIDC_DIR, true));
    let secrets = (0..instance.spec.secrets_from.len()).map(|place| mount(&secrets_volume(place), &secrets_directory(place), true));
    [mount("admin", ADMIN_DIR, true), mount("encryption", ENCRYPTION_DIR, true)].into_iter().chain(oidc).chain(secrets)
}

fn all_volumes(instance: &Checkstack) -> Vec<Volume> {
    let spec = &instance.spec;
    let secrets = spec.secrets_from.iter().enumerate().map(|(place, source)| Volume {
        name: secrets_volume(place),
        secret: Some(SecretVolumeSource {
            secret_name: Some(source.secret_ref.name.clone()),
            default_mode: Some(READABLE),
            // A plugin that refers to one of its keys says that it is missing.
            optional: Some(true),
            items: None,
        }),
        ..Volume::default()
    });
    volumes(&instance.name_any()).into_iter().chain(spec.sign_in.oidc.as_ref().map(oidc_volume)).chain(secrets).collect()
}

fn secrets_volume(place: usize) -> String {
    format!("secrets-{place}")
}

/// Directories are looked at in the order of their names.
fn secrets_directory(place: usize) -> String {
    format!("{SECRETS_DIR}/{place:02}")
}

/// The client's secret and the CA bundle, from whatever Secrets they are in. A changed one is a changed file.
fn oidc_volume(oidc: &OidcSpec) -> Volume {
    let source = |name: &str, key: &str, file: &str| VolumeProjection {
        secret: Some(SecretProjection {
            name: name.to_owned(),
            items: Some(vec![KeyToPath { key: key.to_owned(), path: file.to_owned(), mode: None }]),
            // Without it one can still sign in with a password.
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    };
    let secret = &oidc.client_secret_ref;
    let bundle = oidc.ca_bundle_secret_ref.as_ref().map(|bundle| source(&bundle.name, &bundle.key, CA_BUNDLE_FILE));
    Volume {
        name: "oidc".to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(READABLE),
            sources: Some(std::iter::once(source(&secret.name, &secret.key, CLIENT_SECRET_FILE)).chain(bundle).collect()),
        }),
        ..Volume::default()
    }
}

fn volumes(instance: &str) -> Vec<Volume> {
    let volume = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let empty_dir = |size: &str| EmptyDirVolumeSource { size_limit: Some(Quantity(size.to_owned())), ..EmptyDirVolumeSource::default() };
    let item = |key: &str| KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None };
    vec![
        Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: names::plugin_set_config_map(instance),
                default_mode: Some(READABLE),
                optional: Some(true),
                items: None,
            }),
            ..volume("plugin-set")
        },
        Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::plugin_config_secret(instance)),
                default_mode: Some(READABLE),
                optional: Some(true),
                items: None,
            }),
            ..volume("plugin-config")
        },
        Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::keys_secret(instance)),
                default_mode: Some(READABLE),
                optional: None,
                // Not those with which the operator signs.
                items: Some(vec![item(PUBLIC_KEYS_FILE), item(SEALING_KEY_FILE)]),
            }),
            ..volume("keys")
        },
        Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::admin_secret(instance)),
                default_mode: Some(READABLE),
                // Deleted, to get another.
                optional: Some(true),
                items: Some(vec![item("username"), item("password")]),
            }),
            ..volume("admin")
        },
        Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::encryption_secret(instance)),
                default_mode: Some(READABLE),
                // Without it secrets in the database cannot be read, and everything else goes on.
                optional: Some(true),
                items: None,
            }),
            ..volume("encryption")
        },
        Volume { empty_dir: Some(empty_dir(STATE_SIZE)), ..volume("state") },
        Volume { empty_dir: Some(empty_dir(TMP_SIZE)), ..volume("tmp") },
    ]
}

struct Timing {
    period: i32,
    timeout: i32,
    failures: i32,
}

fn probe(path: &str, timing: Timing) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(names::HTTP_PORT_NAME.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(timing.period),
        timeout_seconds: Some(timing.timeout),
        failure_threshold: Some(timing.failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn pod_security(user: Option<i64>) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: user,
        run_as_group: user,
        fs_group: user,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn pull_secrets(instance: &Checkstack) -> Vec<LocalObjectReference> {
    instance.spec.image_pull_secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() }).collect()
}

/// The admin's constraints; without any placement rules of theirs, pods prefer different nodes.
fn spread(instance: &Checkstack) -> Vec<TopologySpreadConstraint> {
    let own_pods = names::pod_label_selector(&instance.name_any());
    let extra = &instance.spec.pod_template;
    if extra.topology_spread_constraints.is_empty() && extra.affinity.is_none() {
        return vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(own_pods),
            ..TopologySpreadConstraint::default()
        }];
    }
    let with_selector = |constraint: &TopologySpreadConstraint| TopologySpreadConstraint {
        label_selector: constraint.label_selector.clone().or_else(|| Some(own_pods.clone())),
        ..constraint.clone()
    };
    extra.topology_spread_constraints.iter().map(with_selector).collect()
}

/// What the pods' template says about the database, for when the Secret itself is gone.
pub(crate) fn annotations_of(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    template.metadata.as_ref().and_then(|metadata| metadata.annotations.clone()).unwrap_or_default()
}
