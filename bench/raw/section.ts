// The section `raw` of bench/RESULTS.md.

import type { Machine } from '../machine.js'
import { table } from '../report.js'
import { formatNumber, formatSummary } from '../statistics.js'
import { bestReader, type BestReader } from './best-reader.js'
import { expertShare } from './expert-share.js'
import type { ExpertSpeed } from './experts.js'
import type { Bandwidth } from './memory.js'
import type { RoundTrip } from './network.js'
import type { ProductSpeed } from './products.js'

export interface RawResults {
  readonly machine: Machine
  readonly cacheBytes: number
  readonly memory: readonly Bandwidth[]
  readonly products: readonly ProductSpeed[]
  readonly experts: readonly ExpertSpeed[]
  readonly network: readonly RoundTrip[]
}

export function rawSection(results: RawResults, machineLine: string): string {
  const { memory, products, network, experts, cacheBytes } = results
  const best = [1, 2].map((threads) => bestReader(memory, products, { threads, cacheBytes }))
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
    `Best: ${best.map((b) => `${formatNumber(b.gigabytesPerSecond)} GB/s with ${b.threads} thread${b.threads > 1 ? 's' : ''} (${b.reader})`).join(', ')}. \`float64 loop\` is JavaScript, \`byte search\` and \`compare\` are libc’s memchr and memcmp over buffers that no cache holds; the one-row products of the next table count as readers too where their weights (f32: 268 MB, int8: 75 MB) are larger than the last cache (${formatNumber(cacheBytes / 1e6)} MB).`,
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
    '### Expert layer, 1024 → 512 → 1024',
    '',
    `The engine’s expert layer as an expert worker calls it, four experts a call, each with so many rows, in turn over ${formatNumber((experts[0]?.weightBytes ?? NaN) / 1e6)} MB of experts. MLAS peak: the fastest of the products above with as many threads.`,
    '',
    table(
      ['expert worker', 'weights', 'threads', 'GFLOP/s', 'weight bytes read, GB/s', 'share'],
      experts.map((speed) => expertCells(speed, best, products)),
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

function expertCells(speed: ExpertSpeed, best: readonly BestReader[], products: readonly ProductSpeed[]): string[] {
  const { rows, format, threads, gigaflops, weightGigabytesPerSecond } = speed
  const reader = best.find((candidate) => candidate.threads === threads) ?? { gigabytesPerSecond: NaN }
  const { of, share } = expertShare(speed, reader, products)
  return [
    rows === 1 ? 'at one row' : `at ${rows} rows`,
    format,
    `${threads}`,
    formatSummary(gigaflops),
    rows === 1 ? formatSummary(weightGigabytesPerSecond) : '',
    `${formatNumber(100 * share)} % of ${of}`,
  ]
}
