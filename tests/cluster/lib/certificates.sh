# The cluster's own certificate authority, one identity for each component, and their kubeconfigs.
# shellcheck shell=bash
# All are made anew by each `up` and forgotten by `down`: nothing that opens one cluster opens another.

sign_certificate() { # NAME SUBJECT [subjectAltName]
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -CA "$RUN/pki/ca.crt" -CAkey "$RUN/pki/ca.key" -subj "$2" -addext basicConstraints=critical,CA:FALSE \
    ${3:+-addext "subjectAltName=$3"} -keyout "$RUN/pki/$1.key" -out "$RUN/pki/$1.crt" 2>"$RUN/pki/openssl.log" ||
    fail "openssl could not make the certificate $1: $(cat "$RUN/pki/openssl.log")"
}

write_kubeconfig() { # NAME SERVER
  jq -n --arg user "$1" --arg server "$2" --arg cluster "checkstack-$NAME" \
    --rawfile ca "$RUN/pki/ca.crt" --rawfile crt "$RUN/pki/$1.crt" --rawfile key "$RUN/pki/$1.key" '{
      apiVersion: "v1", kind: "Config", "current-context": $cluster,
      contexts: [{name: $cluster, context: {cluster: $cluster, user: $user}}],
      clusters: [{name: $cluster, cluster: {server: $server, "certificate-authority-data": ($ca | @base64)}}],
      users: [{name: $user, user: {"client-certificate-data": ($crt | @base64), "client-key-data": ($key | @base64)}}]
    }' >"$RUN/kube/$1.conf"
}

make_certificates() { # MODE ADDRESS PORT
  local mode=$1 address=$2 server=https://$2:$3 who
  mkdir -p "$RUN/pki" "$RUN/kube"
  chmod 700 "$RUN/pki" "$RUN/kube"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=checkstack-$NAME" \
    -keyout "$RUN/pki/ca.key" -out "$RUN/pki/ca.crt" 2>/dev/null
  openssl ecparam -genkey -name prime256v1 -noout -out "$RUN/pki/service-accounts.key" # signs their tokens
  openssl ec -in "$RUN/pki/service-accounts.key" -pubout -out "$RUN/pki/service-accounts.pub" 2>/dev/null
  sign_certificate kube-apiserver /CN=kube-apiserver \
    "IP:127.0.0.1,IP:$address,IP:$SERVICE_OF_API_SERVER,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  sign_certificate admin /O=system:masters/CN=admin
  write_kubeconfig admin "$server"
  [ "$mode" = node ] || return 0
  sign_certificate kube-apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  sign_certificate kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "IP:$NODE_ADDRESS,DNS:$NODE_NAME"
  sign_certificate kube-controller-manager /CN=system:kube-controller-manager
  sign_certificate kube-scheduler /CN=system:kube-scheduler
  sign_certificate kube-proxy /CN=system:kube-proxy
  sign_certificate coredns /CN=coredns
  for who in kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do write_kubeconfig "$who" "$server"; done
}
