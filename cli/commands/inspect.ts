// `banyan inspect MODEL`: what a checkpoint is and what it would take. No weights are read.

import { openCheckpoint } from '../../lib/model/checkpoint.js'
import { inspectCheckpoint, type CheckpointReport } from '../../lib/model/inspect.js'
import type { Flags } from '../cluster-flags.js'
import { print, printJson, table } from '../terminal.js'

export async function inspect(model: string, flags: Flags): Promise<number> {
  const checkpoint = openCheckpoint(model)
  try {
    const report = inspectCheckpoint(checkpoint)
    if (flags.json === true) printJson(report)
    else print(describe(report))
    return 0
  } finally {
    checkpoint.close()
  }
}

const MILLION = 1e6
const megabytes = (bytes: number): string => `${(bytes / MILLION).toFixed(1)} MB`
const names = (list: readonly string[]): string => (list.length === 0 ? 'none' : list.join(', '))

export function describe(report: CheckpointReport): string {
  const { weightBytes } = report
  const experts =
    report.experts === 0
      ? 'none (dense)'
      : `${report.experts}, ${report.expertsPerToken} per token, in ${report.shards} shards`
  return table([
    ['family', report.family],
    ['fingerprint', report.fingerprint],
    [
      'parameters',
      `${(report.parameters / MILLION).toFixed(2)} M, ${(report.activeParameters / MILLION).toFixed(2)} M per token`,
    ],
    ['layers', `${report.layers} of width ${report.hidden}`],
    ['attention', `${report.heads} heads on ${report.kvHeads} of width ${report.headDim}`],
    ['experts', experts],
    ['vocabulary', String(report.vocabSize)],
    ['context', `${report.maxPositions} tokens`],
    [
      'tensors',
      Object.entries(report.dtypes)
        .map(([dtype, count]) => `${count} ${dtype}`)
        .join(', '),
    ],
    ['missing', names(report.missing)],
    ['unexpected', names(report.unexpected)],
    [
      'weights in memory',
      Object.entries(weightBytes)
        .map(([format, bytes]) => `${format} ${megabytes(bytes)}`)
        .join(', '),
    ],
    ['KV in memory', `${report.kvBytesPerToken} bytes per token`],
    ['tokenizer', report.hasTokenizer ? 'yes' : 'none: token ids only'],
    ['chat template', report.hasChatTemplate ? 'yes' : 'none'],
  ])
}
