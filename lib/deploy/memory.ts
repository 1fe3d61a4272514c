// What a worker of each role needs in memory: weights, KV and operands where it computes, and its process around them.

import { attentionLinears } from '../model/attention-parts.js'
import { ffnLinears, linearValues, modelSizes, type ModelSizes } from '../model/sizes.js'
import type { KvFormat } from '../model/kv-formats.js'
import type { ModelSpec, WeightFormat } from '../model/spec.js'
import { CPU, GPU, MEMORY, TOKEN_BUDGET } from './constants.js'
import { attentionRowBytes } from './operands.js'

/** Slots of KV are taken by pages. */
const PAGE_TOKENS = 128
/** Rows whose logits a stream may have at once: its next token, and what a draft adds to the walk. */
const HEAD_ROWS_PER_STREAM = 2

export interface ModelMemory {
  readonly sizes: ModelSizes
  readonly shardBytes: number // of the largest shard
  readonly expertOperands: number
  readonly attentionWeights: number // attention, gates, norms, head
  readonly attentionOperands: number // but for logits
  readonly streamOperands: number // logits of one more stream
  readonly largestLayer: number // bytes of weights that pass through the host at once
}

interface Kept {
  readonly weights: WeightFormat
  readonly kvFormat?: KvFormat
  readonly isOnDevice?: boolean // roles may get GPUs, which widen matrices in float16 before they multiply with them
}

export function modelMemory(spec: ModelSpec, { weights, kvFormat, isOnDevice = false }: Kept): ModelMemory {
  const sizes = modelSizes(spec, weights, kvFormat)
  const { hidden, vocabSize, layers } = spec
  const widest = layers.reduce((most, { ffn }) => {
    const rows = Math.max(ffn.gate?.topK ?? 0, 0) * (ffn.experts[0]?.intermediate ?? 0)
    return Math.max(most, rows + (ffn.always?.ffn.intermediate ?? 0))
  }, 0)
  const perRow = layers.reduce((most, { ffn }) => Math.max(most, (ffn.gate?.topK ?? 0) + (ffn.always ? 1 : 0)), 0)
  const attended = layers.reduce(
    (most, { attention }) => Math.max(most, attentionRowBytes(attention, hidden, weights)),
    0,
  )
  const widened = isOnDevice && weights === 'f16' ? widenedBytes(spec) : { expert: 0, attention: 0 }
  const shards = sizes.shards.reduce((sum, bytes) => sum + bytes, 0)
  return {
    sizes,
    shardBytes: Math.max(...sizes.shards),
    expertOperands: TOKEN_BUDGET * 4 * (2 * widest + (perRow + 2) * hidden) + widened.expert,
    attentionWeights: sizes.attention + sizes.head,
    attentionOperands: TOKEN_BUDGET * (4 * 4 * hidden + attended) + widened.attention,
    streamOperands: HEAD_ROWS_PER_STREAM * 4 * (vocabSize + 2 * hidden),
    largestLayer: Math.max(shards, sizes.attention) / layers.length,
  }
}

/** An expert's matrices, a layer's and the head's, in float32: a device keeps room for each size that it widened. */
function widenedBytes({ layers, lmHead }: ModelSpec): Readonly<Record<'expert' | 'attention', number>> {
  const experts = layers.flatMap(({ ffn }) => [...ffn.experts, ...(ffn.always ? [ffn.always.ffn] : [])])
  const most = (values: readonly number[]): number => values.reduce((largest, value) => Math.max(largest, value), 0)
  return {
    expert: 4 * most(experts.map((expert) => linearValues(ffnLinears(expert)))),
    attention:
      4 * (most(layers.map(({ attention }) => linearValues(attentionLinears(attention)))) + linearValues([lmHead])),
  }
}

/** Tokens of KV that a stream of that context takes: whole pages. */
export const streamTokens = (context: number): number => Math.ceil(context / PAGE_TOKENS) * PAGE_TOKENS

export type WorkerRole = 'attention' | 'expert-worker'

/** Where a worker computes: bytes that it may hold there, and those of its container. */
export interface Room {
  readonly device: number // weights, KV and operands together
  readonly container: number
  readonly isGpu: boolean
  readonly threads: number
}

/** Room on processors, or on a GPU of so many bytes. */
export const roomOf = (container: number, threads: number, gpuMemory?: number): Room => ({
  device: gpuMemory === undefined ? CPU.processBytes : gpuMemory * GPU.usableShare,
  container,
  isGpu: gpuMemory !== undefined,
  threads,
})

/** A worker's process without what it computes with. */
export const processBytes = (role: WorkerRole, { threads }: Room): number =>
  MEMORY.overhead[role] + threads * MEMORY.thread

/** What the container asks for when the worker holds so many bytes where it computes. */
export const residentBytes = (role: WorkerRole, held: number, room: Room, memory: ModelMemory): number =>
  processBytes(role, room) + (room.isGpu ? MEMORY.gpuStaging + memory.largestLayer : held * MEMORY.residentFactor)

/** Bytes that a worker may hold where it computes in that room. */
export const mostHeld = (role: WorkerRole, room: Room): number =>
  room.isGpu ? room.device : Math.min(room.device, (room.container - processBytes(role, room)) / MEMORY.residentFactor)

export const expertBytes = (memory: ModelMemory, shards: number): number =>
  shards * memory.shardBytes + memory.expertOperands

/** Bytes of an attention worker with so many streams and tokens of KV. */
export const attentionWorkerBytes = (memory: ModelMemory, streams: number, kvTokens: number): number =>
  memory.attentionWeights +
  memory.attentionOperands +
  streams * memory.streamOperands +
  kvTokens * memory.sizes.kvPerToken

/** Streams of a context that an attention worker has room for. */
export function roomForStreams(memory: ModelMemory, held: number, context: number): number {
  const perStream = streamTokens(context) * memory.sizes.kvPerToken + memory.streamOperands
  return Math.max(0, Math.floor((held - memory.attentionWeights - memory.attentionOperands) / perStream))
}

/** Tokens of KV, in whole pages, beside so many streams. */
export function roomForTokens(memory: ModelMemory, held: number, streams: number): number {
  const left = held - attentionWorkerBytes(memory, streams, 0)
  return Math.max(0, Math.floor(left / memory.sizes.kvPerToken / PAGE_TOKENS) * PAGE_TOKENS)
}
