# The rest of a node: controller manager, scheduler, containerd, kubelet, kube-proxy, CoreDNS.
# shellcheck shell=bash
# All listen on the node's own address, so that they collide with nothing that listens on loopback.

CONTAINERD_SOCKET=containerd/containerd.sock # in the state folder
PAUSE_IMAGE=localhost/checkstack/pause:1

command_of_kube-controller-manager() {
  COMMAND=("$BIN/kube-controller-manager" --kubeconfig=kube/kube-controller-manager.conf --bind-address="$NODE_ADDRESS"
    --root-ca-file=pki/ca.crt --service-account-private-key-file=pki/service-accounts.key --use-service-account-credentials
    --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key
    --allocate-node-cidrs --cluster-cidr="$POD_ADDRESSES" --leader-elect=false --profiling=false
    # It asks for an account and a token for each of its controllers; at the default of 20 requests a second that takes 5 s.
    --kube-api-qps=200 --kube-api-burst=400)
}

command_of_kube-scheduler() {
  COMMAND=("$BIN/kube-scheduler" --kubeconfig=kube/kube-scheduler.conf --bind-address="$NODE_ADDRESS"
    --leader-elect=false --profiling=false)
}

command_of_containerd() { COMMAND=(containerd --config containerd/config.toml); }

# --oom-score-adj=0, here and below: a negative one needs CAP_SYS_RESOURCE, which a machine in a sandbox may not have.
command_of_kubelet() {
  COMMAND=("$BIN/kubelet" --config=kubelet/config.json --kubeconfig=kube/kubelet.conf
    --hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS"
    --root-dir="$RUN/kubelet/root" --cert-dir="$RUN/kubelet/certificates" --oom-score-adj=0)
}

command_of_kube-proxy() {
  COMMAND=("$BIN/kube-proxy" --kubeconfig=kube/kube-proxy.conf --hostname-override="$NODE_NAME"
    --proxy-mode=iptables --cluster-cidr="$POD_ADDRESSES"
    --healthz-bind-address="$NODE_ADDRESS:10256" --metrics-bind-address="$NODE_ADDRESS:10249"
    # A Service follows its pods after 0.1 s instead of 1 s; the rules here are few.
    --iptables-min-sync-period=100ms
    --conntrack-max-per-core=0 --oom-score-adj=0)
}

command_of_coredns() { COMMAND=("$BIN/coredns" -conf Corefile); }

in_containerd() { ctr --address "$RUN/$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

configure_containerd() {
  mkdir -p "$RUN/containerd/cni"
  # Everything containerd would put elsewhere (/opt/containerd, /run/containerd/runc, /run/netns) goes into the state folder.
  cat >"$RUN/containerd/config.toml" <<TOML
version = 2
root = "$RUN/containerd/root"
state = "$RUN/containerd/state"
[grpc]
  address = "$RUN/$CONTAINERD_SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "$RUN/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE runc dies of a negative oom score with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$RUN/containerd/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/containerd/cni"
TOML
  # ptp and not bridge: pods on one bridge answer each other directly, past the address translation of Services,
  # unless the kernel has br_netfilter. With a link of its own each pod is routed, always.
  jq -n --arg name "$POD_NETWORK" --arg subnet "$NODE_POD_ADDRESSES" --arg data "$RUN/containerd/cni-addresses" '{
      cniVersion: "0.4.0", name: $name,
      plugins: [{type: "ptp", ipMasq: true, ipam: {type: "host-local", dataDir: $data, ranges: [[{subnet: $subnet}]], routes: [{dst: "0.0.0.0/0"}]}}]
    }' >"$RUN/containerd/cni/10-pods.conflist"
}

configure_kubelet() {
  mkdir -p "$RUN/kubelet"
  # The machine is a developer's or a CI runner's: its full disk, its swap and its cgroup version are none of our business.
  # Images come by `load-image` only, so the kubelet must never collect them as garbage.
  jq -n --arg run "$RUN" --arg address "$NODE_ADDRESS" --arg socket "$RUN/$CONTAINERD_SOCKET" '{
      apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration",
      address: $address, healthzPort: 0,
      containerRuntimeEndpoint: "unix://\($socket)",
      cgroupDriver: "cgroupfs", failCgroupV1: false, failSwapOn: false, enforceNodeAllocatable: [],
      evictionHard: {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
      imageGCHighThresholdPercent: 100,
      clusterDNS: [$address], clusterDomain: "cluster.local",
      podLogsDir: "\($run)/kubelet/pod-logs", volumePluginDir: "\($run)/kubelet/volume-plugins",
      authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "\($run)/pki/ca.crt"}},
      authorization: {mode: "Webhook"},
      tlsCertFile: "\($run)/pki/kubelet.crt", tlsPrivateKeyFile: "\($run)/pki/kubelet.key"
    }' >"$RUN/kubelet/config.json"
}

configure_coredns() {
  local upstream=''
  # Names outside the cluster go where the machine asks; without a name server CoreDNS would refuse to start.
  if grep -qs '^nameserver' /etc/resolv.conf; then upstream='forward . /etc/resolv.conf'; fi
  cat >"$RUN/Corefile" <<COREFILE
.:53 {
  bind $NODE_ADDRESS
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $RUN/kube/coredns.conf checkstack-$NAME
  }
  $upstream
  cache 5
}
COREFILE
}

# What holds a pod's namespaces: one static program that sleeps. containerd ends it with SIGKILL, so it needs no
# signal handler. (It collects no orphans, which only pods with a shared process namespace would have.)
load_pause_image() {
  mkdir -p "$RUN/pause"
  cp /bin/busybox "$RUN/pause/busybox"
  pack_image "$PAUSE_IMAGE" "$RUN/pause" "$RUN/pause.tar" /busybox sleep infinity >/dev/null
  in_containerd images import "$RUN/pause.tar" >"$RUN/pause/import.log" 2>&1 ||
    component_failed containerd "it did not take the pause image: $(tail -n 1 "$RUN/pause/import.log")"
}

# containerd needs no API server: it starts beside it, and takes its first image while the other is busy.
start_container_runtime() {
  configure_containerd
  start_component containerd
}

await_container_runtime() {
  await containerd 'containerd ready' in_containerd version
  load_pause_image
  lap 'pause image loaded'
}

# Not the ready-made role `view`: a controller puts that together, seconds after CoreDNS has asked first and is backing off.
grant_coredns() {
  admin_kubectl create -f - >/dev/null <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: coredns}
rules:
  - {apiGroups: [""], resources: [namespaces, services], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coredns}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: coredns}]
YAML
}

start_node() {
  configure_kubelet
  configure_coredns
  start_component kube-controller-manager
  start_component kube-scheduler
  start_component kubelet
  start_component kube-proxy
  grant_coredns
  start_component coredns
}

node_ready() { admin_kubectl wait --for=condition=Ready "node/$NODE_NAME" --timeout=1s; }
default_service_account_exists() { admin_kubectl wait --for=create serviceaccount/default --timeout=1s; }

await_node() {
  await kubelet "node $NODE_NAME ready" node_ready
  await kube-proxy 'kube-proxy has written its rules' answers_http_200 "$NODE_ADDRESS" 10256 /healthz
  await kube-scheduler 'scheduler listens' accepts_tcp "$NODE_ADDRESS" 10259
  await coredns 'CoreDNS listens' accepts_tcp "$NODE_ADDRESS" 53
  # The last of all: without it no pod can be created.
  await kube-controller-manager 'default service account exists' default_service_account_exists
}
