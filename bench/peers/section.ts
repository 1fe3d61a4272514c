// The section `peers` of bench/RESULTS.md.

import type { Machine } from '../machine.js'
import type { BestReader } from '../raw/best-reader.js'
import { table } from '../report.js'
import { formatNumber, formatSummary, median, ratios, summarise } from '../statistics.js'
import { activeBytes } from './active-bytes.js'
import { WIDTHS, type ModelFacts, type Width } from './checkpoints.js'
import { memoryRatio, type ColdStarts } from './cold-start.js'
import type { Agreement, RowResult } from './rows.js'

export interface Comparison {
  readonly model: ModelFacts
  readonly width: Width
  readonly rows: readonly RowResult[]
  readonly coldStarts: ColdStarts
  readonly versions: readonly string[] // of the other side
  readonly system: string // processor features that it uses
}

export interface PeerResults {
  readonly machine: Machine
  readonly threads: number
  readonly rounds: number
  readonly bandwidth: BestReader // with those threads
  readonly comparisons: readonly Comparison[]
}

export function peersSection(results: PeerResults, machineLine: string): string {
  const { threads, rounds, bandwidth, comparisons } = results
  return [
    '## Against llama.cpp',
    '',
    `\`npm run bench:peers\`. ${machineLine} ${threads} threads on both sides (llama.cpp may take one where that is faster), ${rounds} rounds in turn (ours, theirs, ours, …) after a warm-up, median (minimum – maximum). The ratio is ours over theirs of the same round; of times and memory it is theirs over ours: above 1 we are ahead.`,
    '',
    ...HOW,
    '',
    `Memory reads with ${threads} threads (\`bench/raw\`, ${bandwidth.reader}): ${formatNumber(bandwidth.gigabytesPerSecond)} GB/s.`,
    '',
    ...comparisons.flatMap((comparison) => comparisonLines(comparison, bandwidth.gigabytesPerSecond)),
    'Not measured: quantised KV on either side, llama-server, sampled text, speculation, GPUs, processors other than this one, llama.cpp built for this processor from source, real checkpoints of this size (the synthetic ones have random weights: their speed is real, their text is not).',
  ].join('\n')
}

const HOW = [
  '- Ours: `banyan up --transport local --draft off`, asked over gRPC; the client’s work on the same cores counts against us. KV in float32.',
  '- llama.cpp: the prebuilt processor library of node-llama-cpp in a process of its own, driven at the binding below its sequence API (one `llama_decode` per step over all streams), no network between, libuv’s pool at one thread (with its usual four, llama.cpp’s threads meet on one core and a step may take ten times as long). KV in float16. Flash attention, batch size and, for little work, the number of threads: the fastest of those tried before, per row.',
  '- Decode counts the tokens between the last stream’s first token and the first stream’s last; prefill is prompt tokens over the time to the first token. All prompts differ.',
  '- Memory: resident bytes after the first token, less what the process takes without these weights (llama.cpp: before the model is loaded; ours: the same command with the demonstration model), over the weights’ bytes in the side’s own format.',
]

function comparisonLines(comparison: Comparison, bandwidth: number): string[] {
  const { model, width, rows } = comparison
  const experts = model.experts === 0 ? 'dense' : `${model.experts} experts, top-${model.expertsPerToken}`
  const size = `${model.layers} layers of ${model.hidden}, ${experts}, ${formatNumber(model.weightBytes[width] / 1e6)} MB`
  return [
    `### ${model.name}: ${width} against ${WIDTHS[width]} (${size})`,
    '',
    table(['', 'Banyan', 'llama.cpp', 'ratio'], [...rows.map(rateCells), ...coldCells(comparison.coldStarts)]),
    '',
    ...shareLines(comparison, bandwidth),
    `- Timed tokens of ours equal to those of an untimed run: ${words(sum(rows.map((row) => row.repeated)))}. First tokens equal to llama.cpp’s: ${words(sum(rows.map((row) => row.firstTokens)))}.`,
    `- llama.cpp’s settings: ${rows.map(settingWords).join('; ')}. Inside \`llama_decode\`: ${percent(median(rows.flatMap((row) => row.insideShares)))} of its decode time.`,
    '',
  ]
}

function rateCells(row: RowResult): string[] {
  const name =
    row.kind === 'prefill'
      ? `prefill ${row.promptTokens} tokens, tokens/s`
      : `decode ${row.streams} stream${row.streams > 1 ? 's' : ''}, tokens/s`
  return [name, ...[row.ours, row.theirs, row.ratios].map((values) => formatSummary(summarise(values)))]
}

function coldCells({ ours, theirs }: ColdStarts): string[][] {
  const speedUps = ratios(theirs.firstTokenMs, ours.firstTokenMs)
  const times = [ours.firstTokenMs, theirs.firstTokenMs, speedUps].map((values) => formatSummary(summarise(values)))
  const memory = (['anonymousBytes', 'totalBytes'] as const).map((field) => {
    const [our, their] = [memoryRatio(ours, field), memoryRatio(theirs, field)]
    const name = field === 'totalBytes' ? 'all' : 'anonymous'
    return [`resident memory over weight bytes, ${name}`, ...[our, their, their / our].map(formatNumber)]
  })
  return [['cold start to first token, ms', ...times], ...memory]
}

/** How near each side is to what memory allows when one stream reads all its weights for one token. */
function shareLines({ model, width, rows }: Comparison, bandwidth: number): string[] {
  const single = rows.find(({ kind, streams }) => kind === 'decode' && streams === 1)
  if (single === undefined) return []
  const share = (side: 'ours' | 'theirs'): string => {
    const bytes = activeBytes(model, width, side)
    const used = (bytes * median(single[side])) / 1e9
    return `${percent(used / bandwidth)} (${formatNumber(bytes / 1e6)} MB a token, ${formatNumber(used)} GB/s)`
  }
  return [`- Share of the measured memory reads at one stream: ours ${share('ours')}, llama.cpp ${share('theirs')}.`]
}

const percent = (share: number): string => `${formatNumber(share * 100)} %`
const words = ({ equal, compared }: Agreement): string => `${equal} of ${compared}`
const sum = (parts: readonly Agreement[]): Agreement => ({
  equal: parts.reduce((total, { equal }) => total + equal, 0),
  compared: parts.reduce((total, { compared }) => total + compared, 0),
})

function settingWords({ kind, promptTokens, streams, setting }: RowResult): string {
  const name = kind === 'prefill' ? `prefill ${promptTokens}` : `decode ${streams}`
  return `${name}: flash attention ${setting.flashAttention ? 'on' : 'off'}, batch ${setting.batchSize}, ${setting.threads} thread${setting.threads > 1 ? 's' : ''}`
}
