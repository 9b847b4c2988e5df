# Components as processes: starting, watching, awaiting and ending them.
# shellcheck shell=bash

# Every process of a cluster carries this variable in its environment, and so do containerd's shims, which inherit it:
# that is how all of them are found again after their pid files or their parents are gone.
mark_of() { echo "CHECKSTACK_CLUSTER_STATE=$1"; } # STATE_DIR

# A pid alone may by now belong to somebody else: it counts together with the time at which its process started.
process_start_time() { # PID
  local line fields
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${line##*) }" # behind the name in parentheses, which may hold blanks
  case ${fields[0]} in Z | X) return 1 ;; esac # ended, but not yet collected by its parent
  echo "${fields[19]}"
}

pid_of() { # COMPONENT: prints the pid if it runs
  local pid started
  { read -r pid started <"$RUN/pid/$1"; } 2>/dev/null || return 1
  [ "$(process_start_time "$pid")" = "$started" ] && echo "$pid"
}

is_running() { pid_of "$1" >/dev/null; } # COMPONENT

components_of() { # MODE
  case $1 in
    control-plane) echo etcd kube-apiserver ;;
    node) echo etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy coredns ;;
  esac
}

start_component() { # COMPONENT; its function command_of_COMPONENT fills COMMAND
  local component=$1 COMMAND=() pid
  "command_of_$component"
  mkdir -p "$RUN/pid" "$RUN/tmp" "$LOGS"
  (
    cd "$RUN" || exit
    ulimit -n "$(ulimit -Hn)"
    # A session of its own: neither the terminal's interrupt nor the end of our caller's process group reaches it.
    exec env "$(mark_of "$RUN")" "TMPDIR=$RUN/tmp" setsid "${COMMAND[@]}" </dev/null >>"$LOGS/$component.log" 2>&1 9>&-
  ) &
  pid=$!
  echo "$pid $(process_start_time $pid || true)" >"$RUN/pid/$component"
}

# Names the component, shows why, and ends the command; `up` then tears down what it started.
component_failed() { # COMPONENT WHAT
  echo "cluster: $1 failed: $2" >&2
  echo "--- the last lines of $LOGS/$1.log:" >&2
  tail -n 20 "$LOGS/$1.log" 2>/dev/null | cut -c1-500 >&2
  exit 1
}

# Waits until CHECK succeeds. Meanwhile every component started so far must go on running: one that has ended is the
# one to be named, whatever it is that we wait for.
await() { # COMPONENT WHAT CHECK...
  local component=$1 what=$2 deadline=$((SECONDS + TIMEOUT)) file started status
  shift 2
  until "$@" >/dev/null 2>&1; do
    for file in "$RUN"/pid/*; do
      started=${file##*/}
      if ! is_running "$started"; then
        status=0
        wait "$(cut -d' ' -f1 "$file")" 2>/dev/null || status=$?
        component_failed "$started" "it ended with status $status while waiting for: $what"
      fi
    done
    [ $SECONDS -lt $deadline ] || component_failed "$component" "after $TIMEOUT s still waiting for: $what"
    sleep 0.05
  done
  lap "$what"
}

# Checks that cost no process: polling with kubectl would take the CPU from what is being waited for.
accepts_tcp() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; } # ADDRESS PORT

answers_http_200() ( # ADDRESS PORT PATH
  exec 3<>"/dev/tcp/$1/$2" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$3" >&3
  read -r -t 2 answer <&3 && [[ $answer == *' 200 '* ]]
)

require_component() { # COMPONENT
  local known
  known=$(components_of "$(mode_of "$RUN")")
  [ -n "$known" ] || fail "the cluster $NAME is not up"
  [[ " $known " == *" ${1:-} "* ]] || fail "no such component: ${1:-}; there are: $known"
}

end_component() { # SIGNAL COMPONENT
  local signal=$1 component=${2:-} pid i
  lock_cluster
  require_component "$component"
  pid=$(pid_of "$component") || fail "$component is not running"
  kill -"$signal" "$pid"
  for ((i = 0; i < 200; i++)); do
    if ! is_running "$component"; then echo "$component (pid $pid) ended"; return; fi
    sleep 0.05
  done
  fail "$component (pid $pid) runs on, 10 s after SIG$signal"
}

restart_component() { # COMPONENT
  local component=${1:-}
  lock_cluster
  require_component "$component"
  ! is_running "$component" || fail "$component is already running"
  start_component "$component"
  sleep 0.3 # long enough to see one that can't start at all; what it serves is for the caller to await
  is_running "$component" || component_failed "$component" "it ended at once"
  echo "$component (pid $(pid_of "$component")) started"
}

show_logs() { # [COMPONENT [-f]]
  if [ $# = 0 ]; then
    [ -d "$LOGS" ] || fail "no logs of the cluster $NAME"
    ls -l "$LOGS"
    return
  fi
  local log=$LOGS/$1.log
  [ -f "$log" ] || fail "no log: $log"
  case ${2:-} in
    '') cat "$log" ;;
    -f) exec tail -n 50 -F "$log" ;;
    *) fail "logs: no such option: $2" ;;
  esac
}
