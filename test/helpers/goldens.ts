// The reference implementation's logits and greedy ids, and what a cluster makes of the same prompts.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openSafetensors } from '../../lib/model/safetensors.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import { BanyanClient } from '../../sdk/src/index.js'
import { goldenModel } from './paths.js'
import type { TestCluster } from './test-cluster.js'

interface Golden {
  readonly cases: readonly { readonly prompt: number[]; readonly greedy: number[] }[]
}

export const readGolden = (family: string): Golden =>
  // The file's form is fixed: it was written by the reference implementation and is never regenerated.
  JSON.parse(readFileSync(join(goldenModel(family), 'golden.json'), 'utf8')) as Golden

/** Logits of every position of a prompt. */
export async function logitsOf(cluster: TestCluster, prompt: readonly number[]): Promise<Float32Array> {
  const message = { kind: 'router.logits', body: { tokens: packI32(prompt) }, replyKind: 'logits.page' } as const
  const page = await cluster.system.ask('router-0', message, { timeoutMs: 20_000 })
  return readF32(page.logits, 'logits')
}

/** The largest difference of a logit from the reference. */
export async function worstLogit(cluster: TestCluster, family: string): Promise<number> {
  const golden = openSafetensors(join(goldenModel(family), 'golden.safetensors'))
  let worst = 0
  for (const [i, { prompt }] of readGolden(family).cases.entries()) {
    const logits = await logitsOf(cluster, prompt)
    const wanted = golden.readFloat32(`logits${i}`)
    assert.equal(logits.length, wanted.length)
    worst = logits.reduce((most, value, at) => Math.max(most, Math.abs(value - (wanted[at] ?? NaN))), worst)
  }
  golden.close()
  return worst
}

export async function greedyOf(cluster: TestCluster, prompt: readonly number[]): Promise<readonly number[]> {
  const client = new BanyanClient({ address: cluster.router.grpc })
  const { tokenIds } = await client.complete({
    tokens: prompt,
    sampling: { temperature: 0, maxTokens: 32, ignoreEos: true },
  })
  client.close()
  return tokenIds
}
