# Using a cluster: the clients, and which cluster `make run` and the end-to-end tests are to use.
# shellcheck shell=bash

# Always the cluster made here: a KUBECONFIG in the environment may name one that matters to somebody.
run_client() { # kubectl|helm ARG...
  local client=$1
  shift
  [ -x "$BIN/$client" ] || fail "$client is not built; run \`cluster install --tools $client\`"
  [ -f "$KUBECONFIG_FILE" ] || fail "the cluster $NAME is not up"
  KUBECONFIG=$KUBECONFIG_FILE exec "$BIN/$client" "$@"
}

show_target() {
  local given=${KUBECONFIG:-} kubectl=$BIN/kubectl server
  [ -n "$given" ] || { echo "local $KUBECONFIG_FILE"; return; }
  case $(readlink -m "$given") in
    "$CLUSTER_HOME"/run/*) echo "local $(readlink -m "$given")"; return ;;
  esac
  [ -x "$kubectl" ] || kubectl=$(command -v kubectl) || fail "no kubectl to read KUBECONFIG=$given with; run \`cluster install\`"
  server=$("$kubectl" config view --minify -o 'jsonpath={.clusters[0].cluster.server}') || server=''
  [ -n "$server" ] || fail "KUBECONFIG=$given names no server: is the file there, and has it a current context?"
  echo "external $given $server"
}
