#!/bin/sh
# Makes the Secrets that the manifests refer to by name, new ones at every call, and prints them as YAML:
#   deploy/k8s/make-secrets.sh | kubectl apply -f -
#
#   nats-passwords    one per role; NATS and the services read them
#   nats-tls          an authority of its own and the servers' certificate (component cert-manager makes it instead)
#   banyan-api-keys   one key that clients send
#
#   -n NAMESPACE   default banyan
#   -k FILE        API keys, one a line, instead of a new one (docs/reference.md tells what a line can say)
#   -a NAMES       more names of the servers' certificate: DNS:nats.example.org,IP:10.0.0.7
#   -t             leaves nats-tls out
set -eu

namespace=banyan keys='' more='' with_tls=yes
while getopts n:k:a:t option; do
  case $option in
    n) namespace=$OPTARG ;;
    k) keys=$(cat "$OPTARG") ;;
    a) more=,$OPTARG ;;
    t) with_tls=no ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 2 ;;
  esac
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
umask 077

# Letters and digits, beginning with a letter: NATS reads them from its environment as words of its configuration.
word() { printf 'p%s' "$(openssl rand -hex 24)"; }
encoded() { base64 | tr -d '\n'; }
secret() { printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n  labels:\n    app.kubernetes.io/part-of: banyan\ntype: %s\ndata:\n' "$1" "$namespace" "$2"; }
entry() { printf '  %s: %s\n' "$1" "$(encoded)"; }

# All is made before anything is printed: half of it would be applied as if it were all.
{
  secret nats-passwords Opaque
  for role in router attention expert-worker drafter up; do word | entry "$role"; done

  secret banyan-api-keys Opaque
  if [ -n "$keys" ]; then printf '%s\n' "$keys"; else printf 'sk-%s\n' "$(openssl rand -hex 24)"; fi | entry api-keys

  if [ "$with_tls" = yes ]; then
    cd "$folder"
    names=DNS:nats,DNS:nats.$namespace.svc,DNS:localhost,IP:127.0.0.1$more
    for i in 0 1 2; do names=$names,DNS:nats-$i.nats-headless,DNS:nats-$i.nats-headless.$namespace.svc; done
    new_key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    # shellcheck disable=SC2086 # several words
    openssl req -x509 $new_key -subj '/CN=Banyan NATS authority' -days 3650 -keyout ca.key -out ca.crt 2>error || { cat error >&2; exit 1; }
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >extensions
    # shellcheck disable=SC2086
    openssl req $new_key -subj /CN=nats -keyout tls.key -out tls.csr 2>error || { cat error >&2; exit 1; }
    openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 825 \
      -extfile extensions -out tls.crt 2>error || { cat error >&2; exit 1; }
    secret nats-tls kubernetes.io/tls
    # shellcheck disable=SC2094 # it is read, and not written
    for file in ca.crt tls.crt tls.key; do entry "$file" <"$file"; done
  fi
} >"$folder/secrets.yaml"
cat "$folder/secrets.yaml"
