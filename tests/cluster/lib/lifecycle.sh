# up, down and status of one cluster.
# shellcheck shell=bash

bring_up() { # NAME [--mode MODE] [--fresh] [--timeout SECONDS]
  local name=$1 mode='' fresh=''
  shift
  TIMEOUT=120
  while [ $# -gt 0 ]; do
    case $1 in
      --mode) mode=${2:?--mode needs a value}; shift 2 ;;
      --mode=*) mode=${1#*=}; shift ;;
      --timeout) TIMEOUT=${2:?--timeout needs a value}; shift 2 ;;
      --timeout=*) TIMEOUT=${1#*=}; shift ;;
      --fresh) fresh=1; shift ;;
      *) fail "up: no such option: $1" ;;
    esac
  done
  [ -n "$mode" ] || { [ "${name:-node}" = node ] && mode=node || mode=control-plane; }
  [ -n "$name" ] || name=$mode
  choose_cluster "$name"
  case $mode in
    node)
      [ "$name" = node ] || fail "a machine has one node, and its name is node"
      require_root ;;
    control-plane) [ "$name" != node ] || fail "the name node is for --mode node" ;;
    *) fail "no such mode: $mode" ;;
  esac
  [ ${#RUN} -le 65 ] || fail "the state folder's path is too long for the sockets in it (65 characters at most): $RUN"

  lock_cluster
  if [ -z "$fresh" ] && is_healthy; then echo "the $mode cluster $name is already up; KUBECONFIG=$KUBECONFIG_FILE"; return; fi
  require_programs etcd openssl jq setsid
  require_builds "${KUBERNETES_CONTROL_PLANE[@]}"
  if [ "$mode" = node ]; then
    require_programs containerd ctr runc iptables ip conntrack sysctl pidof /bin/busybox /usr/lib/cni/ptp
    require_builds "${KUBERNETES_NODE[@]}" coredns
    # Our own processes must be gone before anything that is running can be called another's.
    if [ "$(node_claimed_by)" = "$RUN" ] || [ -e "$RUN" ]; then tear_down "$RUN"; fi
    require_free_machine
  elif [ -e "$RUN" ]; then tear_down "$RUN"; fi

  begin_laps
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'undo_failed_start' EXIT
  mkdir -p "$RUN" "$LOGS"
  rm -f "$LOGS"/*.log
  echo "$mode" >"$RUN/mode"
  if [ "$mode" = node ]; then
    claim_machine
    echo "$NODE_ADDRESS 6443" >"$RUN/address"
    start_container_runtime
  else
    choose_free_port
  fi
  # shellcheck disable=SC2046
  make_certificates "$mode" $(cat "$RUN/address")
  lap 'certificates made'
  start_control_plane
  if [ "$mode" = node ]; then await_container_runtime; fi
  await_control_plane
  if [ "$mode" = node ]; then
    start_node
    await_node
  fi
  trap - EXIT
  lap "up; KUBECONFIG=$KUBECONFIG_FILE"
}

undo_failed_start() {
  local status=$?
  trap - EXIT INT TERM
  disown -a # or bash would report each of the processes we kill
  [ $status != 0 ] || status=1
  tear_down "$RUN" || true
  echo "cluster: $NAME did not come up; all of it is stopped again; logs: $LOGS" >&2
  exit $status
}

bring_down() { # NAME [--all]
  local name=$1 state
  case ${2:-} in
    '') choose_cluster "$name"; bring_one_down ;;
    --all)
      for state in "$CLUSTER_HOME"/run/*/; do
        [ ! -d "$state" ] || { choose_cluster "$(basename "$state")"; bring_one_down; }
      done ;;
    *) fail "down: no such option: $2" ;;
  esac
}

bring_one_down() {
  lock_cluster
  begin_laps
  if [ ! -e "$RUN" ] && [ "$(node_claimed_by)" != "$RUN" ] && [ -z "$(marked_processes "$RUN")" ]; then
    echo "the cluster $NAME is not up"
    return
  fi
  tear_down "$RUN"
  lap "the cluster $NAME is down"
}

is_healthy() {
  local component components
  components=$(components_of "$(mode_of "$RUN")")
  [ -n "$components" ] || return 1
  for component in $components; do is_running "$component" || return 1; done
  api_server_ready >/dev/null 2>&1 || return 1
  [ "$(mode_of "$RUN")" = control-plane ] || { node_ready && accepts_tcp "$NODE_ADDRESS" 53; } >/dev/null 2>&1
}

version_of() { # COMPONENT
  case $1 in
    etcd) etcd --version | awk 'NR == 1 { print $3 }' ;;
    containerd) containerd --version | awk '{ print $3 }' ;;
    *) built_version "$1" ;;
  esac
}

show_status() {
  local component pid mode
  mode=$(mode_of "$RUN")
  if [ -z "$mode" ]; then echo "the cluster $NAME is not up"; exit 1; fi
  echo "cluster $NAME ($mode)"
  for component in $(components_of "$mode"); do
    pid=$(pid_of "$component") || pid=-
    printf '  %-24s %-8s %-8s %s\n' "$component" "$([ "$pid" = - ] && echo stopped || echo running)" "$pid" "$(version_of "$component" 2>/dev/null)"
  done
  if [ "$mode" = node ]; then
    admin_kubectl get nodes --no-headers --request-timeout=3s 2>/dev/null | awk '{ print "  node " $1 ": " $2 }' || echo '  node: unknown'
  fi
  echo "  KUBECONFIG=$KUBECONFIG_FILE"
  if ! is_healthy; then echo '  not healthy'; exit 1; fi
  echo '  healthy'
}
