# etcd and kube-apiserver: enough for CRDs, CEL rules, watches, status and server-side apply. Needs no root.
# shellcheck shell=bash

SERVICE_ADDRESSES=10.96.0.0/16
SERVICE_OF_API_SERVER=10.96.0.1

# etcd listens on a socket in the state folder: no port to collide with, and nobody else on the machine can talk to it.
# It insists on a URL of the form host:port and takes that as the socket's name, relative to its working directory.
# The peer port can't be switched off; 0 lets the kernel choose one on loopback.
ETCD_URL=unix://etcd:0

command_of_etcd() {
  rm -f "$RUN/${ETCD_URL#unix://}" # a killed etcd leaves its socket, and the next can't bind it
  COMMAND=(etcd --logger=zap --log-outputs=stderr --data-dir=etcd.data --unsafe-no-fsync
    --listen-client-urls="$ETCD_URL" --advertise-client-urls="$ETCD_URL"
    --listen-peer-urls=http://127.0.0.1:0)
}

command_of_kube-apiserver() {
  local address port
  read -r address port <"$RUN/address"
  COMMAND=("$BIN/kube-apiserver" --etcd-servers="$ETCD_URL"
    --bind-address="$address" --secure-port="$port"
    # Only an entry in the endpoints of the Service `kubernetes`; the API server refuses loopback here.
    --advertise-address="$NODE_ADDRESS"
    --tls-cert-file=pki/kube-apiserver.crt --tls-private-key-file=pki/kube-apiserver.key --client-ca-file=pki/ca.crt
    --service-account-issuer=https://kubernetes.default.svc
    --service-account-key-file=pki/service-accounts.pub --service-account-signing-key-file=pki/service-accounts.key
    --service-cluster-ip-range="$SERVICE_ADDRESSES"
    --authorization-mode=Node,RBAC --allow-privileged=true
    --profiling=false --shutdown-delay-duration=0s)
  if [ "$(mode_of "$RUN")" = node ]; then
    COMMAND+=(--enable-admission-plugins=NodeRestriction
      --kubelet-client-certificate=pki/kube-apiserver-kubelet-client.crt --kubelet-client-key=pki/kube-apiserver-kubelet-client.key
      --kubelet-certificate-authority=pki/ca.crt --kubelet-preferred-address-types=InternalIP)
  else
    # Nobody makes the `default` service accounts here, without which a test could not create a pod.
    COMMAND+=(--disable-admission-plugins=ServiceAccount)
  fi
}

admin_kubectl() { "$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"; }

api_server_ready() {
  local address port
  read -r address port <"$RUN/address"
  accepts_tcp "$address" "$port" && admin_kubectl get --raw /readyz
}

start_control_plane() { start_component etcd; start_component kube-apiserver; }
await_control_plane() { await kube-apiserver 'API server ready' api_server_ready; }

# Below the range from which the kernel takes ports for outgoing connections (32768 and up), so that a port
# that is free now is free until it is bound; the lock keeps two clusters that start at once apart.
choose_free_port() {
  local port taken
  exec 8>"$CLUSTER_HOME/run/.ports.lock"
  flock 8
  while :; do
    port=$((20000 + RANDOM % 10000))
    taken=$(printf '%04X' $port)
    grep -qi ":$taken [0-9A-F]*:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null && continue
    grep -qs " $port\$" "$CLUSTER_HOME"/run/*/address && continue
    break
  done
  echo "127.0.0.1 $port" >"$RUN/address"
  exec 8>&-
}
