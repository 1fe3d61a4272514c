// Whether a query reads series that Banyan exports, with labels that they have. docs/metrics.md is made from the same
// tables.

import { metricTables } from '../../observability/metric-tables.js'
import { readQuery } from '../../observability/promql.js'

/** Of the scrape, of Kubernetes' own service discovery, and of histograms. */
const OUTER_LABELS = ['job', 'instance', 'namespace', 'pod', 'service', 'endpoint', 'container', 'node', 'le']
const MODEL_LABEL = 'model_name'

/** Labels by series; a histogram has three. */
function exported(): ReadonlyMap<string, readonly string[]> {
  const rows = metricTables().flatMap(({ table }) => [
    ...table.matchAll(/^\| `([\w:]+)(?:\{([^}]*)\})?` \| (\w+) \|/gm),
  ])
  const series = rows.flatMap(([, name = '', labels = '', type]): [string, string[]][] => {
    const list = labels.split(', ').filter((label) => label !== '')
    const names = type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name]
    return names.map((one) => [one, list])
  })
  return new Map(series)
}

/** Prometheus' own beside Banyan's. */
const FOREIGN: ReadonlySet<string> = new Set(['up', 'ALERTS'])

/** What is wrong with what a query reads. `recorded`: series that rules make. */
export function queryProblems(query: string, recorded: ReadonlySet<string> = new Set()): string[] {
  const known = exported()
  try {
    return readQuery(query).selectors.flatMap(({ metric, matchers }) => {
      if (FOREIGN.has(metric) || recorded.has(metric)) return []
      const labels = known.get(metric)
      if (labels === undefined) return [`nobody exports ${metric}`]
      const allowed = [...labels, ...OUTER_LABELS, MODEL_LABEL]
      return matchers
        .filter(({ label }) => !allowed.includes(label))
        .map(({ label }) => `${metric} has no label ${label}`)
    })
  } catch (error) {
    return [String(error)]
  }
}
