// The rules for the Prometheus operator are the rules of Prometheus' own form, as the script writes them.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import * as z from 'zod'
import { repositoryRoot } from '../helpers/paths.js'

const read = (path: string): unknown => parse(readFileSync(join(repositoryRoot, 'deploy', path), 'utf8'))

describe('PrometheusRule', () => {
  it('has the rules of prometheus/rules.yml', () => {
    const { kind, spec } = z
      .object({ kind: z.string(), spec: z.unknown() })
      .parse(read('k8s/components/monitoring/rules.yaml'))
    assert.equal(kind, 'PrometheusRule')
    const why = 'stale: call deploy/observability/make-prometheus-rule.sh'
    assert.deepEqual(spec, read('observability/prometheus/rules.yml'), why)
  })

  it('has an alert for every heading of the runbook, and each is found from docs/operations.md', () => {
    const text = (path: string): string => readFileSync(join(repositoryRoot, path), 'utf8')
    const all = (path: string, pattern: RegExp): string[] =>
      [...text(path).matchAll(pattern)].map(([, name = '']) => name.toLowerCase()).sort()
    const alerts = all('deploy/observability/prometheus/rules.yml', /^ +- alert: (\w+)$/gm)
    assert.deepEqual(all('deploy/observability/README.md', /^## (Banyan\w+)$/gm), alerts)
    const linked = all('docs/operations.md', /deploy\/observability\/README\.md#(\w+)\)/g)
    assert.deepEqual([...new Set(linked)], alerts)
  })
})
