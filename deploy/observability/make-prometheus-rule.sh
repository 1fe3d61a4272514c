#!/bin/sh
# Writes deploy/k8s/components/monitoring/rules.yaml, the rules of prometheus/rules.yml as the Prometheus operator takes
# them. Call it when those change; test/unit/prometheus-rule.test.ts fails until then.
set -eu
cd "$(dirname "$0")"

{
  cat <<'END'
# Made by deploy/observability/make-prometheus-rule.sh of prometheus/rules.yml there: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: banyan
  labels:
    app.kubernetes.io/name: banyan
    app.kubernetes.io/part-of: banyan
spec:
END
  sed -e '/^#/d' -e 's/^\(.\)/  \1/' prometheus/rules.yml
} >../k8s/components/monitoring/rules.yaml
