// The section `raw` of bench/RESULTS.md.

import type { Machine } from '../machine.js'
import { table } from '../report.js'
import { formatNumber, formatSummary } from '../statistics.js'
import { bestReader } from './best-reader.js'
import type { Bandwidth } from './memory.js'
import type { RoundTrip } from './network.js'
import type { ProductSpeed } from './products.js'

export interface RawResults {
  readonly machine: Machine
  readonly memory: readonly Bandwidth[]
  readonly products: readonly ProductSpeed[]
  readonly network: readonly RoundTrip[]
}

export function rawSection({ memory, products, network }: RawResults, machineLine: string): string {
  const best = [1, 2].map((threads) => bestReader(memory, products, threads))
  return [
    '## Raw baselines',
    '',
    `\`npm run bench:raw\`. ${machineLine} Median (minimum – maximum); the clusters of the other sections do not take part.`,
    '',
    '### Memory reads, GB/s',
    '',
    table(
      ['reader', 'threads', 'GB/s'],
      memory.map((m) => [m.reader, `${m.threads}`, formatSummary(m.gigabytesPerSecond)]),
    ),
    '',
    `Best: ${best.map((b) => `${formatNumber(b.gigabytesPerSecond)} GB/s with ${b.threads} thread${b.threads > 1 ? 's' : ''} (${b.reader})`).join(', ')}. \`float64 loop\` is JavaScript, \`byte search\` and \`compare\` are libc’s memchr and memcmp over buffers that no cache holds; the one-row products of the next table count as readers too where their weights are larger than any cache (f32: 268 MB, int8: 75 MB).`,
    '',
    '### Matrix products of the compute engine, 4096 → 16384',
    '',
    table(
      ['weights', 'rows', 'threads', 'GFLOP/s', 'weight bytes read, GB/s'],
      products.map((p) => [
        p.format,
        `${p.rows}`,
        `${p.threads}`,
        formatSummary(p.gigaflops),
        p.rows === 1 ? formatSummary(p.weightGigabytesPerSecond) : '',
      ]),
    ),
    '',
    '### Messages on loopback, microseconds there and back',
    '',
    table(
      ['kind', 'bytes each way', 'p50', 'p90', 'p99'],
      network.map(({ kind, bytes, microseconds: { p50, p90, p99 } }) => [
        kind,
        `${bytes}`,
        formatNumber(p50),
        formatNumber(p90),
        formatNumber(p99),
      ]),
    ),
    '',
    'Not measured: networks between machines, TLS, JetStream, more than two threads or responders.',
  ].join('\n')
}
