# Leaving nothing behind, whatever the cluster's condition.
# shellcheck shell=bash
# There is one way down, and it asks nobody's cooperation: it is the same for a healthy cluster, for one of which every
# process was killed, and for one that failed halfway up. So the way that matters in an emergency is the one that is always used.

marked_processes() { # STATE_DIR
  # -z -x: one whole variable. Ended processes that nobody collected have an empty environment and don't count.
  grep -lzxF "$(mark_of "$1")" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 || true
}

# Repeats a step until it reports (by success) that nothing is left.
until_gone() { # WHAT STEP...
  local what=$1 i
  shift
  for ((i = 0; i < 200; i++)); do
    if "$@"; then return; fi
    sleep 0.05
  done
  fail "down: $what still there after 10 s"
}

kill_all() { # PID...; succeeds if there was none
  [ $# != 0 ] || return 0
  kill -KILL "$@" 2>/dev/null || true
  return 1
}

kill_marked_processes() { # STATE_DIR
  # shellcheck disable=SC2046
  kill_all $(marked_processes "$1")
}

pod_cgroups() { find /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods -depth -type d "$@" 2>/dev/null || true; } # cgroup v2, v1

kill_container_processes() {
  local group pids=()
  # A frozen process does not die of SIGKILL under cgroup v1.
  while read -r group; do
    [ ! -e "$group/freezer.state" ] || echo THAWED >"$group/freezer.state"
  done < <(pod_cgroups)
  # A cgroup may vanish while it is read; 0 stands for a process outside our own process namespace.
  mapfile -t pids < <(pod_cgroups | sed 's,$,/cgroup.procs,' | xargs -r -d '\n' cat 2>/dev/null | grep -vx 0 | sort -un || true)
  kill_all "${pids[@]}"
}

remove_pod_cgroups() {
  pod_cgroups -exec rmdir {} + 2>/dev/null
  [ -z "$(pod_cgroups)" ]
}

mounts_below() { # DIR; the innermost first
  local target
  while read -r _ _ _ _ target _; do
    printf -v target '%b' "$target" # blanks are written as \040
    case $target in "$1"/*) echo "$target" ;; esac
  done </proc/self/mountinfo | sort -r
}

unmount_all_below() { # DIR
  local target
  mounts_below "$1" | while read -r target; do umount -l "$target" 2>/dev/null || true; done
  [ -z "$(mounts_below "$1")" ]
}

remove_pod_links() {
  local link
  # Links vanish with the network namespace, but some time later; so they are deleted from this end.
  ip -o route show | awk -v first="${NODE_POD_ADDRESSES%0/*}" 'index($1, first) == 1 && $2 == "dev" { print $3 }' |
    while read -r link; do ip link delete "$link" 2>/dev/null || true; done
  ip link delete "$NODE_BRIDGE" 2>/dev/null || true
}

# Removes the chains of kubelet and kube-proxy (KUBE-), of our pods (CNI-, known by the network's name in their rules) and
# our own, with every rule that leads there: per table in one transaction, which touches nobody else's rules.
remove_firewall_rules() {
  local family
  for family in iptables ip6tables; do
    command -v $family-save >/dev/null || continue
    # By the environment: awk would interpret the backslashes in the value of -v.
    $family-save 2>/dev/null | network="name: \\\"$POD_NETWORK\\\"" awk '
      function target(  i) { for (i = 3; i < NF; i++) if ($i == "-j" || $i == "-g") return $(i + 1); return "" }
      /^\*/ { table = $0 }
      /^:(KUBE|CKST)-/ { ours[table, substr($1, 2)] = 1 }
      /^-A/ && index($0, ENVIRON["network"]) {
        if ($2 ~ /^CNI-/) ours[table, $2] = 1
        if (target() ~ /^CNI-/) ours[table, target()] = 1
      }
      { line[++n] = $0; of[n] = table }
      function flush_table(  key, parts) {
        if (current == "" || !found) return
        printf "%s", rules
        for (key in ours) { split(key, parts, SUBSEP); if (parts[1] == current) print "-F " parts[2] }
        for (key in ours) { split(key, parts, SUBSEP); if (parts[1] == current) print "-X " parts[2] }
        print "COMMIT"
      }
      END {
        for (i = 1; i <= n; i++) {
          if (of[i] != current) { flush_table(); current = of[i]; rules = current "\n"; found = 0; for (key in ours) { split(key, parts, SUBSEP); if (parts[1] == current) found = 1 } }
          $0 = line[i]
          if (/^-A/ && !((current, $2) in ours) && ((current, target()) in ours)) rules = rules "-D" substr($0, 3) "\n"
        }
        flush_table()
      }' >"$CLAIM/$family.rules"
    if [ -s "$CLAIM/$family.rules" ]; then
      $family-restore -w 10 --noflush "$CLAIM/$family.rules" || fail "down: could not remove the firewall rules in $CLAIM/$family.rules"
    fi
  done
}

# What programs write to fixed places, whatever they are configured to.
remove_stray_files() { # STATE_DIR
  local state=$1 socket result
  # Where shims listen. Theirs are not to be told from others', but one on which nobody listens any more is nobody's.
  for socket in /run/containerd/s/*; do
    if [ -S "$socket" ] && ! grep -q " $socket\$" /proc/net/unix; then rm -f "$socket"; fi
  done
  for result in "/var/lib/cni/results/$POD_NETWORK-"*-eth0; do
    result=${result%-eth0}
    rm -f "$result-eth0" "/var/lib/cni/results/cni-loopback-${result##*-}-lo"
  done
  find /var/log/containers -lname "$state/*" -delete 2>/dev/null || true
  rmdir /var/lib/cni/results /var/lib/cni /var/log/containers /run/containerd/s /run/containerd 2>/dev/null || true
}

release_machine() { # STATE_DIR
  mkdir -p "$CLAIM"
  until_gone "processes in cgroup kubepods" kill_container_processes
  until_gone "mounts below $1" unmount_all_below "$1"
  until_gone "cgroup kubepods" remove_pod_cgroups
  remove_pod_links
  remove_firewall_rules
  remove_stray_files "$1"
  [ ! -f "$CLAIM/sysctl.conf" ] || sysctl -q -e -p "$CLAIM/sysctl.conf"
}

tear_down() { # STATE_DIR
  local state=$1
  until_gone "processes of $state" kill_marked_processes "$state"
  if [ "$(mode_of "$state")" = node ] || [ "$(node_claimed_by)" = "$state" ]; then
    require_root
    release_machine "$state"
  fi
  # Deleting through a mount would delete what is mounted there.
  [ -z "$(mounts_below "$state")" ] || fail "down: there are mounts below $state"
  rm -rf --one-file-system "$state"
  # Last, so that a `down` that was interrupted is known to be unfinished.
  if [ "$(node_claimed_by)" = "$state" ]; then rm -rf "$CLAIM"; fi
}
