// The section `ablations` of bench/RESULTS.md.

import { packageRoot } from '../../lib/package-files.js'
import { table } from '../report.js'
import { formatSummary, summarise } from '../statistics.js'
import type { AblationRow } from './measure.js'
import type { Means } from './means.js'

export interface AblationResults {
  readonly means: readonly Pick<Means, 'name' | 'what' | 'on' | 'off'>[]
  readonly rows: readonly AblationRow[]
  readonly rounds: number
  readonly numTokens: number
  readonly threads: number
}

export function ablationSection(
  { means, rows, rounds, numTokens, threads }: AblationResults,
  machineLine: string,
): string {
  return [
    '## What each means brings',
    '',
    `\`npm run bench:ablations\`. ${machineLine} One process (\`--transport local\`), int8, ${threads} threads, drafts off, each unless the means says otherwise; asked over gRPC by a client on the same cores. For each means two clusters side by side that differ in it alone, the same greedy requests to both in turn, ${rounds} rounds after a warm-up, ${numTokens} tokens a stream. Median (minimum – maximum); the ratio is on over off of the same round.`,
    '',
    table(
      ['model', 'means', 'measured', 'on', 'off', 'on / off', 'better is'],
      rows.map((row) => [
        row.model,
        row.means,
        row.name,
        ...[row.on, row.off, row.ratios].map((values) => formatSummary(summarise(values))),
        row.better,
      ]),
    ),
    '',
    ...means.map(({ name, what, on, off }) => `- ${name}: ${what} (${flagWords(on)} against ${flagWords(off)}).`),
    '',
    'Not measured: means in combinations, sampled text, GPUs, other processors.',
  ].join('\n')
}

const flagWords = (flags: readonly string[]): string =>
  flags.length === 0 ? 'default' : `\`${flags.join(' ').replace(`${packageRoot()}/`, '')}\``
