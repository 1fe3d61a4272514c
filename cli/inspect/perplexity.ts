// Perplexity of a text in every weight format: the text through a cluster of its own per format, window by window.
//
// Invariants
//   PX1  Every format sees the same windows; a token is judged by those before it in its window, the first one of a
//        window by none.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ActorSystem } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { WEIGHT_FORMATS } from '../../lib/model/weight-formats.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import { loadConfig } from '../cluster-flags.js'
import { createProgress, table } from '../terminal.js'
import { withCluster } from '../with-cluster.js'

const WINDOW = 512 // tokens
const SAMPLE = 'sample.txt'
const WINDOW_TIMEOUT_MS = 300_000
const ROUTER = 'router-0'

export interface FormatPerplexity {
  readonly weights: WeightFormat
  readonly perplexity: number
  readonly change: number // against float32, as a share of it
  readonly tokens: number // judged
}

export interface PerplexityOptions {
  readonly signal: AbortSignal
  readonly text?: string | undefined // the model's sample, unless given
  readonly threads?: number | undefined
}

/** Throws `failed_precondition` where the model has no tokenizer, or neither it nor the caller a text. */
export async function measurePerplexities(
  checkpoint: Checkpoint,
  { signal, text, threads }: PerplexityOptions,
): Promise<readonly FormatPerplexity[]> {
  const windows = windowsOf(checkpoint, text ?? sampleOf(checkpoint))
  const progress = createProgress('perplexity', WEIGHT_FORMATS.length * windows.length)
  const results: FormatPerplexity[] = []
  try {
    for (const weights of WEIGHT_FORMATS) {
      const flags = {
        model: checkpoint.path,
        weights,
        transport: 'local',
        device: 'cpu',
        threads,
        draft: 'off',
        logLevel: 'error',
      }
      const lost = await withCluster(loadConfig(flags), { signal, isQuiet: true }, async ({ bus }) => {
        let sum = 0
        for (const window of windows) {
          sum += await lossOf(bus, window, signal)
          progress.step()
        }
        return sum
      })
      const tokens = windows.reduce((sum, window) => sum + window.length - 1, 0)
      const perplexity = Math.exp(lost / tokens)
      const reference = results[0]?.perplexity ?? perplexity
      results.push({ weights, perplexity, change: perplexity / reference - 1, tokens })
    }
  } finally {
    progress.stop()
  }
  return results
}

function sampleOf({ path }: Checkpoint): string {
  const file = join(path, SAMPLE)
  if (existsSync(file)) return readFileSync(file, 'utf8')
  throw new ClusterError(
    'failed_precondition',
    `perplexity: want --text FILE, or a ${SAMPLE} in ${path}, found neither`,
  )
}

function windowsOf({ tokenizer, spec, path }: Checkpoint, text: string): readonly (readonly number[])[] {
  if (tokenizer === undefined) throw new ClusterError('failed_precondition', `perplexity: ${path} has no tokenizer`)
  const tokens = tokenizer.encode(text)
  const size = Math.min(WINDOW, spec.maxPositions)
  const windows = Array.from({ length: Math.ceil(tokens.length / size) }, (_, i) => {
    return tokens.slice(i * size, (i + 1) * size)
  }).filter(({ length }) => length > 1)
  if (windows.length > 0) return windows
  throw new ClusterError('invalid_argument', `perplexity: want a text of two tokens or more, got ${tokens.length}`)
}

/** Σ -log p of a window's tokens but the first. */
async function lossOf(bus: ActorSystem, window: readonly number[], signal: AbortSignal): Promise<number> {
  const message = { kind: 'router.logits', body: { tokens: packI32(window) }, replyKind: 'logits.page' } as const
  const { logits: page } = await bus.ask(ROUTER, message, { timeoutMs: WINDOW_TIMEOUT_MS, signal })
  const logits = readF32(page, 'logits')
  const vocabSize = logits.length / window.length
  let lost = 0
  for (let row = 0; row + 1 < window.length; row++) {
    const values = logits.subarray(row * vocabSize, (row + 1) * vocabSize)
    lost += logSumExp(values) - values[window[row + 1]!]!
  }
  return lost
}

function logSumExp(values: Float32Array): number {
  const most = values.reduce((largest, value) => Math.max(largest, value), -Infinity)
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0))
}

export function describePerplexities(results: readonly FormatPerplexity[]): string {
  const rows = results.map(({ weights, perplexity, change }) => [
    weights,
    perplexity.toFixed(4),
    weights === 'f32' ? '' : `${change < 0 ? '' : '+'}${(change * 100).toFixed(2)} %`,
  ])
  return table([['weights', 'perplexity', 'change'], ...rows, ['', `over ${results[0]?.tokens ?? 0} tokens`, '']])
}
