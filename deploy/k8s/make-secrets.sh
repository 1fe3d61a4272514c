#!/bin/sh
# Makes the Secrets that the manifests refer to by name, with new content at every call, and prints them as YAML:
#   deploy/k8s/make-secrets.sh -c nats-authority | kubectl apply -f -
#   deploy/k8s/make-secrets.sh banyan-api-keys | kubectl apply -f -       that one alone
#
#   nats-passwords    one per role; NATS and the services read them
#   nats-tls          the servers' certificate, and its authority's (component cert-manager makes it instead)
#   banyan-api-keys   one key that clients send
#
#   -c FOLDER      keeps the authority there (ca.crt, ca.key), and takes the one that it finds there; without it, a new one
#                  that nobody keeps, so that the next certificate will need another
#   -n NAMESPACE   default banyan
#   -k FILE        API keys, one a line, instead of a new one (docs/reference.md tells what a line can say)
#   -a NAMES       more names of the servers' certificate: DNS:nats.example.org,IP:10.0.0.7
#   -t             leaves nats-tls out
set -eu

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 2; }

namespace=banyan keys='' more='' authority='' wanted='nats-passwords banyan-api-keys nats-tls'
while getopts c:n:k:a:t option; do
  case $option in
    c) authority=$OPTARG ;;
    n) namespace=$OPTARG ;;
    k) keys=$(cat "$OPTARG") ;;
    a) more=,$OPTARG ;;
    t) wanted='nats-passwords banyan-api-keys' ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
for name in "$@"; do
  case $name in nats-passwords | nats-tls | banyan-api-keys) ;; *) usage ;; esac
done
if [ $# -gt 0 ]; then wanted=$*; fi
makes() { case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
umask 077
if [ -n "$authority" ]; then
  mkdir -p "$authority"
  authority=$(cd "$authority" && pwd)
fi

# Letters and digits, beginning with a letter: NATS reads them from its environment as words of its configuration.
word() { printf 'p%s' "$(openssl rand -hex 24)"; }
encoded() { base64 | tr -d '\n'; }
secret() { printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n  labels:\n    app.kubernetes.io/part-of: banyan\ntype: %s\ndata:\n' "$1" "$namespace" "$2"; }
entry() { printf '  %s: %s\n' "$1" "$(encoded)"; }
quiet() { "$@" 2>error || { cat error >&2; exit 1; }; }

new_key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'

# ca.crt and ca.key in this folder.
take_authority() {
  if [ -n "$authority" ] && [ -e "$authority/ca.key" ]; then
    cp "$authority/ca.key" "$authority/ca.crt" .
    return
  fi
  # shellcheck disable=SC2086 # several words
  quiet openssl req -x509 $new_key -subj '/CN=Banyan NATS authority' -days 3650 -keyout ca.key -out ca.crt
  if [ -n "$authority" ]; then cp ca.crt ca.key "$authority"; fi
}

# All is made before anything is printed: half of it would be applied as if it were all.
{
  if makes nats-passwords; then
    secret nats-passwords Opaque
    for role in router attention expert-worker drafter up; do word | entry "$role"; done
  fi

  if makes banyan-api-keys; then
    secret banyan-api-keys Opaque
    if [ -n "$keys" ]; then printf '%s\n' "$keys"; else printf 'sk-%s\n' "$(openssl rand -hex 24)"; fi | entry api-keys
  fi

  if makes nats-tls; then
    cd "$folder"
    names=DNS:nats,DNS:nats.$namespace.svc,DNS:localhost,IP:127.0.0.1$more
    for i in 0 1 2; do names=$names,DNS:nats-$i.nats-headless,DNS:nats-$i.nats-headless.$namespace.svc; done
    take_authority
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >extensions
    # shellcheck disable=SC2086 # several words
    quiet openssl req $new_key -subj /CN=nats -keyout tls.key -out tls.csr
    quiet openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 825 \
      -extfile extensions -out tls.crt
    secret nats-tls kubernetes.io/tls
    # shellcheck disable=SC2094 # it is read, and not written
    for file in ca.crt tls.crt tls.key; do entry "$file" <"$file"; done
  fi
} >"$folder/secrets.yaml"
cat "$folder/secrets.yaml"
