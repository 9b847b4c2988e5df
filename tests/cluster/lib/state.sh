# Where a cluster keeps what, and how the harness speaks: paths, names, failures, durations.
# shellcheck shell=bash disable=SC2034  # the names set here are used in the other files

CLUSTER_HOME=$(readlink -m "${CHECKSTACK_CLUSTER_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/checkstack/cluster}")
BIN=$CLUSTER_HOME/bin

fail() { echo "cluster: $*" >&2; exit 1; }

# One cluster's folders. The logs are not in the state, so that they outlive `down` and a failed start.
choose_cluster() { # NAME
  NAME=${1:-node}
  [[ $NAME =~ ^[a-z0-9][-a-z0-9]{0,29}$ ]] || fail "not a name for a cluster: $NAME"
  RUN=$CLUSTER_HOME/run/$NAME
  LOGS=$CLUSTER_HOME/log/$NAME
  KUBECONFIG_FILE=$RUN/kube/admin.conf
}

# The mode is written before anything is started, so that remains of a killed `up` are known for what they are.
mode_of() { cat "$1/mode" 2>/dev/null || true; } # STATE_DIR

# Only one command at a time may change a cluster. The descriptor is closed in what we start: the lock must not outlive us.
lock_cluster() {
  mkdir -p "$CLUSTER_HOME/run"
  exec 9>"$CLUSTER_HOME/run/.$NAME.lock"
  flock -w 300 9 || fail "another command has been changing the cluster $NAME for 5 minutes"
}

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

LAP_BEGIN=0
begin_laps() { LAP_BEGIN=$(now_ms); }
lap() { local ms=$(($(now_ms) - LAP_BEGIN)); printf '%5d.%d s  %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"; }
