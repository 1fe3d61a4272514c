// Names what an answer is a function of. Equal fingerprint, request and seed: equal tokens (invariant I1).

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { SAMPLER_VERSION } from '../sampling/sampler.js'
import type { Checkpoint } from './checkpoint.js'
import type { KvFormat } from './kv-formats.js'
import type { WeightFormat } from './spec.js'

/** Checkpoint, weight and KV format: workers and routers with equal names hold the same numbers. */
export const modelFingerprint = ({ fingerprint }: Checkpoint, weights: WeightFormat, kv: KvFormat = 'f32'): string =>
  kv === 'f32' ? `${fingerprint}-${weights}` : `${fingerprint}-${weights}-kv-${kv}`

/** The folder of a model's packed weights inside the weight cache, if there is one. */
export const weightFolder = (
  { weightCache, weights }: { readonly weightCache?: string | undefined; readonly weights: WeightFormat },
  { weightKey }: Checkpoint,
): string | undefined => (weightCache === undefined ? undefined : join(weightCache, `${weightKey}-${weights}`))

/** What a fingerprint stands for, by name: where two differ, these say in what. */
export type FingerprintParts = {
  readonly checkpoint: string
  readonly weights: string
  readonly kv: string
  readonly deviceClass: string
  readonly sampler: string
  readonly acceptance: string
}

export const fingerprintParts = (
  checkpoint: Checkpoint,
  { weights, kv, deviceClass, acceptance }: Omit<FingerprintParts, 'checkpoint' | 'sampler'>,
): FingerprintParts => ({
  checkpoint: checkpoint.fingerprint,
  weights,
  kv,
  deviceClass,
  sampler: SAMPLER_VERSION,
  acceptance,
})

/**
 * The API's `system_fingerprint`: checkpoint, weight and KV format, device class, sampler version. With lossy acceptance
 * the answer is a function of drafts too, and the name says so.
 */
export function systemFingerprint(
  model: string,
  { kv, deviceClass, acceptance }: Pick<FingerprintParts, 'kv' | 'deviceClass' | 'acceptance'>,
): string {
  const parts = [model, kv, deviceClass, SAMPLER_VERSION].join('|')
  const name = `bny-${createHash('sha256').update(parts).digest('hex').slice(0, 16)}`
  return acceptance === 'exact' ? name : `${name}-lossy-${acceptance}`
}
