// The rules for the Prometheus operator are the rules of Prometheus' own form, as the script writes them.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
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
})
