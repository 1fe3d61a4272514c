// The demonstration model with gates that choose a few experts far more often than the others: load that falls on few
// expert workers.

import { closeSync, cpSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCheckpoint } from '../../lib/model/checkpoint.js'
import { shardPlan } from '../../lib/model/expert-shards.js'
import { emptyPlan, place } from '../../services/router/placement.js'
import { demoModel } from './paths.js'

const STEPS = 3 // powers of two by which a hot expert's scores are larger

export interface SkewedModel {
  readonly path: string
  remove(): void
}

/** A copy of the demonstration model whose busy experts are on the first of these workers, before anything moves. */
export function writeSkewedModel(workers: readonly string[]): SkewedModel {
  const path = mkdtempSync(join(tmpdir(), 'banyan-skewed-'))
  cpSync(demoModel, path, { recursive: true })
  skewGates(path, workers)
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Makes the experts busy that the first of these workers is given; the folder's one file (BF16) is changed in place. */
export function skewGates(folder: string, workers: readonly string[]): void {
  const checkpoint = openCheckpoint(folder)
  const { spec } = checkpoint
  const plan = shardPlan(spec)
  const numRouted = spec.layers[0]?.ffn.experts.length ?? 0
  checkpoint.close()
  const { main } = place({
    current: emptyPlan(plan.numShards),
    workers: workers.map((id) => ({ id })),
    numShards: plan.numShards,
    replicas: 1,
  })
  const isHot = (expert: number): boolean => main[plan.shardOf(0, expert)]?.includes(workers[0] ?? '') === true
  const fd = openSync(join(folder, 'model.safetensors'), 'r+')
  try {
    for (const { begin, size } of gatesOf(fd)) {
      const rows = readAt(fd, begin, size)
      const rowBytes = size / numRouted
      for (let expert = 0; expert < numRouted; expert++) {
        if (isHot(expert)) enlarge(rows.subarray(expert * rowBytes, (expert + 1) * rowBytes))
      }
      writeSync(fd, rows, 0, size, begin)
    }
  } finally {
    closeSync(fd)
  }
}

interface Tensor {
  readonly dtype: string
  readonly data_offsets: readonly [number, number]
}

function gatesOf(fd: number): { readonly begin: number; readonly size: number }[] {
  const headerSize = Number(readAt(fd, 0, 8).readBigUInt64LE(0))
  const header = JSON.parse(readAt(fd, 8, headerSize).toString()) as Record<string, Tensor> // the format's own form
  return Object.entries(header).flatMap(([name, { dtype, data_offsets: offsets }]) => {
    if (!name.endsWith('mlp.gate.weight')) return []
    if (dtype !== 'BF16') throw new Error(`${name}: want BF16, found ${dtype}`)
    return [{ begin: 8 + headerSize + offsets[0], size: offsets[1] - offsets[0] }]
  })
}

function readAt(fd: number, position: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  readSync(fd, bytes, 0, size, position)
  return bytes
}

/** Bfloat16 values times 2^STEPS: exact. */
function enlarge(values: Buffer): void {
  for (let at = 0; at < values.length; at += 2) {
    const bits = values.readUInt16LE(at)
    if ((bits & 0x7f80) !== 0) values.writeUInt16LE(bits + (STEPS << 7), at)
  }
}
