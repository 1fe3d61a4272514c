// The flags of `banyan deploy plan` as what is asked of the plan.

import { basename } from 'node:path'
import type { PlanRequest } from '../../lib/deploy/plan.js'
import type { ImageName } from '../../lib/deploy/overlay.js'
import { readDeclaredModel } from '../../lib/model/checkpoint.js'
import { KV_FORMATS } from '../../lib/model/kv-formats.js'
import { modelName } from '../../lib/model/model-name.js'
import { DEVICE_FORMATS, isForDevices, WEIGHT_FORMATS } from '../../lib/model/weight-formats.js'
import { SIZE_BOUNDS } from '../../lib/wire/sizes.js'
import type { Flags } from '../cluster-flags.js'
import { usageError } from '../report-error.js'
import { nodePools } from './node-pools.js'

export const DEFAULTS = { weights: 'int8', kvFormat: 'f32', device: 'cpu', context: 4096, tpotMs: 150 } as const
const MAX_STREAMS = 32_768 // 64 attention workers of 512 rows

const DEVICES: readonly PlanRequest['device'][] = ['cpu', 'webgpu', 'cuda']

export async function planRequest(model: string, flags: Flags): Promise<PlanRequest> {
  const pools = nodePools(flags)
  const weights = oneOf('--weights', flags.weights ?? DEFAULTS.weights, WEIGHT_FORMATS)
  const device = oneOf('--device', flags.device ?? DEFAULTS.device, DEVICES)
  if (device !== 'cpu' && pools.every(({ gpus }) => gpus === 0))
    throw usageError(`--device ${device}: want nodes with GPUs (--node-gpus N, or gpus=N in --nodes), found none`)
  if (device !== 'cpu' && !isForDevices(weights))
    throw usageError(`--weights ${weights}: want ${DEVICE_FORMATS.join(', ')} on GPUs`)
  const kvFormat = oneOf('--kv-format', flags.kvFormat ?? DEFAULTS.kvFormat, KV_FORMATS)
  if (device !== 'cpu' && kvFormat !== 'f32') throw usageError(`--kv-format ${kvFormat}: want f32 on GPUs`)
  const streams = within('--streams', flags.streams, 1, MAX_STREAMS)
  const replicas = within('--replicas', flags.replicas, 1, SIZE_BOUNDS.replicas.max)
  const tpotMs = within('--tpot-ms', flags.tpotMs, 1, 600_000) ?? DEFAULTS.tpotMs
  const { spec, path } = await readDeclaredModel(model)
  const context = within('--context', flags.context, 1, spec.maxPositions)
  return {
    model: modelName(path),
    spec,
    weights,
    kvFormat,
    device,
    pools,
    streams,
    context: context ?? Math.min(DEFAULTS.context, spec.maxPositions),
    tpotMs,
    replicas,
  }
}

function oneOf<T extends string>(flag: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw usageError(`${flag}: want ${allowed.join(', ')}, found ${JSON.stringify(value)}`)
  return found
}

function within(flag: string, value: unknown, min: number, max: number): number | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'number' && value >= min && value <= max) return value
  throw usageError(`${flag}: want a whole number from ${min} to ${max}, found ${JSON.stringify(value)}`)
}

/** 'registry.example:5000/banyan:0.1.0', or with a digest; `latest` says nothing about what runs. */
export function parseImage(text: string): ImageName {
  const [, name = '', digest] = /^([^@\s]+)@(sha256:[0-9a-f]{64})$/.exec(text) ?? []
  if (digest !== undefined) return { name: name.replace(/:[\w.-]+$/, ''), digest }
  const [, tagged = '', tag = ''] = /^([a-z0-9][^@\s]*?):([\w][\w.-]{0,127})$/.exec(text) ?? []
  if (tagged !== '' && tag !== 'latest' && !tag.includes('/')) return { name: tagged, tag }
  throw usageError(`--image: want a name with a tag that is not latest, or a digest, found ${JSON.stringify(text)}`)
}

/** A name of Kubernetes and of a folder: 'Qwen3-30B-A3B' → 'qwen3-30b-a3b'. */
export const slugOf = (name: string): string =>
  basename(name)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 48) || 'model'
