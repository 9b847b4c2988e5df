# What a node changes on the machine outside its state folder: an address, kernel settings, firewall rules.
# shellcheck shell=bash
# There is one node per machine, because these exist once. The claim in /run says which cluster has them; it is gone
# after a reboot, and so are they.

NODE_NAME=node-1
# Loopback can't be advertised to pods, and not every kernel has dummy devices: an empty bridge carries the address.
NODE_ADDRESS=10.199.0.1
NODE_BRIDGE=ckst0
POD_ADDRESSES=10.244.0.0/16
NODE_POD_ADDRESSES=10.244.0.0/24
POD_NETWORK=checkstack # its name in the CNI configuration, which marks the rules of its pods
FORWARD_CHAIN=CKST-FORWARD

CLAIM=/run/checkstack-cluster
# Settings that kubelet, kube-proxy, the CNI plugins or we change. Their values are kept at the first `up` and put back by `down`.
CHANGED_SETTINGS=(net.ipv4.ip_forward net.ipv4.conf.all.route_localnet
  net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_tcp_timeout_close_wait
  vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes)

node_claimed_by() { cat "$CLAIM/node" 2>/dev/null || true; } # prints the state folder

require_root() {
  [ "$(id -u)" = 0 ] || fail "a node needs root (a control plane does not: --mode control-plane); e.g. sudo -E env PATH=\"\$PATH\" $0 up"
}

require_free_machine() {
  local owner pid
  owner=$(node_claimed_by)
  if [ -n "$owner" ] && [ "$owner" != "$RUN" ]; then
    [ -z "$(marked_processes "$owner")" ] ||
      fail "this machine's node belongs to another cluster home: CHECKSTACK_CLUSTER_HOME=${owner%/run/*} $0 down"
    tear_down "$owner" # killed, and never cleaned up after
  fi
  # Rules and cgroups of another Kubernetes can't be told from ours: never share a machine with one.
  for pid in $(pidof kubelet kube-proxy || true); do
    fail "another Kubernetes runs on this machine (process $pid): $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-200)"
  done
}

claim_machine() {
  mkdir -p "$CLAIM"
  echo "$RUN" >"$CLAIM/node"
  local setting
  for setting in "${CHANGED_SETTINGS[@]}"; do sysctl -e "$setting" 2>/dev/null || true; done >"$CLAIM/sysctl.conf"

  ip link add "$NODE_BRIDGE" type bridge
  ip address add "$NODE_ADDRESS/24" dev "$NODE_BRIDGE"
  ip link set "$NODE_BRIDGE" up
  sysctl -qw net.ipv4.ip_forward=1
  # Where another program (a container engine, a firewall) drops what is forwarded, pods would reach nothing.
  iptables -w 10 -N "$FORWARD_CHAIN"
  iptables -w 10 -A "$FORWARD_CHAIN" -s "$POD_ADDRESSES" -j ACCEPT
  iptables -w 10 -A "$FORWARD_CHAIN" -d "$POD_ADDRESSES" -j ACCEPT
  iptables -w 10 -I FORWARD -j "$FORWARD_CHAIN"
}
