// `banyan inspect MODEL`: what a checkpoint is and what it would take. No weights are read; a configuration is enough.

import { openModel, readDeclaredModel } from '../../lib/model/checkpoint.js'
import { inspectCheckpoint, inspectDeclared, type CheckpointReport } from '../../lib/model/inspect.js'
import type { Flags } from '../cluster-flags.js'
import { notify, print, printJson, table } from '../terminal.js'

export async function inspect(model: string, flags: Flags): Promise<number> {
  const declared = await readDeclaredModel(model)
  const report = declared.hasWeights ? await inspectWeights(model) : inspectDeclared(declared)
  if (!report.hasWeights) notify(`${model}: no weights here, only a configuration; sizes are what it asks for`)
  if (flags.json === true) printJson(report)
  else print(describe(report))
  return 0
}

async function inspectWeights(model: string): Promise<CheckpointReport> {
  const checkpoint = await openModel(model)
  try {
    return inspectCheckpoint(checkpoint)
  } finally {
    checkpoint.close()
  }
}

const MILLION = 1e6
const megabytes = (bytes: number): string => `${(bytes / MILLION).toFixed(1)} MB`
const names = (list: readonly string[]): string => (list.length === 0 ? 'none' : list.join(', '))
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
