// Turns what `banyan status --json` prints into targets for Prometheus' file_sd_configs: standard input to standard output.

import { readFileSync } from 'node:fs'

const { processes } = JSON.parse(readFileSync(0, 'utf8'))
const targets = processes.flatMap(({ metrics }) => {
  if (metrics === undefined) return []
  const { host, protocol, pathname } = new URL(metrics)
  return [{ targets: [host], labels: { __scheme__: protocol.slice(0, -1), __metrics_path__: pathname } }]
})
process.stdout.write(`${JSON.stringify(targets, null, 2)}\n`)
