// `banyan inspect MODEL`: what a checkpoint is, what it would take, and what each weight format costs its matrices. A
// configuration is enough for all but the last.

import { readFileSync } from 'node:fs'
import { ClusterError } from '../../lib/errors.js'
import { openIncomplete, readDeclaredModel, type Checkpoint } from '../../lib/model/checkpoint.js'
import { inspectCheckpoint, inspectDeclared, type CheckpointReport } from '../../lib/model/inspect.js'
import type { Flags } from '../cluster-flags.js'
import { describeMatrices, firstOf, measureMatrices, type MeasuredMatrices } from '../inspect/matrices.js'
import { describePerplexities, measurePerplexities, type FormatPerplexity } from '../inspect/perplexity.js'
import { watchSignals } from '../interruption.js'
import { notify, print, printJson, table } from '../terminal.js'

export interface Inspection extends CheckpointReport {
  readonly matrices: MeasuredMatrices | null // null without weights, or not all of them
  readonly perplexity?: readonly FormatPerplexity[] // where it was asked for
}

/** Tells of what cannot be served for want of tensors, too, and then throws what refuses it. */
export async function inspect(model: string, flags: Flags): Promise<number> {
  const declared = await readDeclaredModel(model)
  if (!declared.hasWeights) {
    notify(`${model}: no weights here, only a configuration; sizes are what it asks for`)
    show({ ...inspectDeclared(declared), matrices: null }, flags)
    return 0
  }
  const checkpoint = await openIncomplete(model)
  try {
    show(await inspectWeights(checkpoint, flags), flags)
    checkpoint.requireComplete()
  } finally {
    checkpoint.close()
  }
  return 0
}

function show(report: Inspection, flags: Flags): void {
  if (flags.json === true) printJson(report)
  else print(describeInspection(report, flags.matrices === true))
}

async function inspectWeights(checkpoint: Checkpoint, flags: Flags): Promise<Inspection> {
  const text = typeof flags.text === 'string' ? readText(flags.text) : undefined
  const report = inspectCheckpoint(checkpoint)
  if (report.missing.length > 0) return { ...report, matrices: null }
  const { signal } = watchSignals(process, () => Date.now())
  const matrices = await measureMatrices(checkpoint, { isComplete: flags.matrices === true, signal })
  if (flags.perplexity !== true && text === undefined) return { ...report, matrices }
  return { ...report, matrices, perplexity: await measurePerplexities(checkpoint, { signal, text }) }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ClusterError('invalid_argument', `--text: want a file that can be read, got ${path}`, { cause })
  }
}

function describeInspection(report: Inspection, isComplete: boolean): string {
  const { matrices, perplexity } = report
  return [
    describe(report),
    ...(matrices === null ? [] : ['', describeMatrices(matrices, isComplete)]),
    ...(perplexity === undefined ? [] : ['', describePerplexities(perplexity)]),
  ].join('\n')
}

const MILLION = 1e6
const megabytes = (bytes: number): string => `${(bytes / MILLION).toFixed(1)} MB`
const names = (list: readonly string[]): string => (list.length === 0 ? 'none' : firstOf(list, '--json'))
const NO_WEIGHTS = 'no weights here'

export function describe(report: CheckpointReport): string {
  const { weightBytes } = report
  const experts =
    report.experts === 0
      ? 'none (dense)'
      : `${report.experts}, ${report.expertsPerToken} per token, in ${report.shards} shards`
  return table([
    ['family', report.family],
    ['fingerprint', report.fingerprint ?? NO_WEIGHTS],
    [
      'parameters',
      `${(report.parameters / MILLION).toFixed(2)} M, ${(report.activeParameters / MILLION).toFixed(2)} M per token`,
    ],
    ['layers', `${report.layers} of width ${report.hidden}`],
    ['attention', `${report.heads} heads on ${report.kvHeads} of width ${report.headDim}`],
    ['experts', experts],
    ['vocabulary', String(report.vocabSize)],
    ['context', `${report.maxPositions} tokens`],
    ...(report.hasWeights ? tensorRows(report) : [['tensors', NO_WEIGHTS]]),
    [
      'weights in memory',
      Object.entries(weightBytes)
        .map(([format, bytes]) => `${format} ${megabytes(bytes)}`)
        .join(', '),
    ],
    ['KV in memory', `${report.kvBytesPerToken} bytes per token`],
  ])
}

function tensorRows({ dtypes, missing, unexpected, ...report }: CheckpointReport): readonly (readonly string[])[] {
  const counts = Object.entries(dtypes).map(([dtype, count]) => `${count} ${dtype}`)
  return [
    ['tensors', counts.join(', ')],
    ['missing', names(missing)],
    ['unexpected', names(unexpected)],
    ['tokenizer', report.hasTokenizer ? 'yes' : 'none: token ids only'],
    ['chat template', report.hasChatTemplate ? 'yes' : 'none'],
  ]
}
