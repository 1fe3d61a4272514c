// The section `formats` of bench/RESULTS.md.

import type { FormatPerplexity } from '../../cli/inspect/perplexity.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import type { Machine } from '../machine.js'
import { table } from '../report.js'
import { formatMedian, formatNumber, formatSummary } from '../statistics.js'
import type { LayoutSpeed } from './products.js'

export interface FormatResults {
  readonly machine: Machine
  /** Matrices alone, as held in memory. */
  readonly matrixBytes: Readonly<Record<WeightFormat, number>>
  readonly perplexity: readonly FormatPerplexity[]
  readonly layouts: readonly LayoutSpeed[]
}

export function formatsSection({ matrixBytes, perplexity, layouts }: FormatResults, machineLine: string): string {
  const tokens = perplexity[0]?.tokens ?? 0
  return [
    '## Weight formats',
    '',
    `\`npm run bench:formats\`. ${machineLine}`,
    '',
    '### Perplexity of the demonstration model',
    '',
    `\`models/demo/sample.txt\`, ${tokens} tokens in windows of 512, which the model has never seen. Bytes of all weight matrices (without the embedding, norms and gates, which are float32 in every format).`,
    '',
    table(
      ['weights', 'perplexity', 'against f32', 'MB of matrices'],
      perplexity.map(({ weights, perplexity: value, change }) => [
        weights,
        value.toFixed(3),
        weights === 'f32' ? '' : `${change < 0 ? '' : '+'}${(100 * change).toFixed(2)} %`,
        formatNumber(matrixBytes[weights] / 1e6),
      ]),
    ),
    '',
    '### Products by layout, 2048 → 8192, one thread',
    '',
    'Rows per second of the product alone, layouts in turn; ratio to the usual layout (bfloat16, a scale per 32) round by round: median and where it lies with 95 % confidence. Where the load before was above 1 others used the machine: then the ratios say something, the rates little.',
    '',
    table(
      ['bits', 'weights per scale', 'scales', 'MB', 'rows', 'rows/s', 'ratio'],
      layouts.map(({ bits, blockSize, scales, megabytes, rows, rowsPerSecond, againstUsual }) => [
        `${bits}`,
        `${blockSize}`,
        scales,
        formatNumber(megabytes),
        `${rows}`,
        formatSummary(rowsPerSecond),
        formatMedian(againstUsual),
      ]),
    ),
  ].join('\n')
}
