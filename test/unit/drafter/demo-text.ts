// Held-out text through the demonstration model: its last hidden states and its greedy choices.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rowViews } from '../../../lib/compute/attention-batch.js'
import { createRoom } from '../../../lib/compute/room.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { loadAttentionModel } from '../../../lib/decode/attention-model.js'
import { createExpertStore } from '../../../lib/decode/expert-store.js'
import { runInPlace } from '../../../lib/decode/experts-in-place.js'
import { KvCache } from '../../../lib/decode/kv-cache.js'
import { batchRows, lastHidden, layOut, runAttention } from '../../../lib/decode/layers.js'
import { headsOf } from '../../../lib/model/attention-parts.js'
import type { Checkpoint } from '../../../lib/model/checkpoint.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { COMPUTE } from './demo-heads.js'

/** Beginnings of this repository's files as they once were: mostly declarations, as the model was trained on. */
const HELD_OUT = 'test/unit/drafter/held-out.txt'
const TOKENS_PER_FILE = 256 // the model's shortest training length

export interface ReadText {
  readonly tokens: Int32Array
  readonly hidden: Float32Array // [tokens, hidden], after the final norm
  readonly choices: Int32Array // [tokens], what the model would say next
}

export async function readDemoText(checkpoint: Checkpoint): Promise<ReadText[]> {
  const weights = createWeightStore(undefined)
  const model = await loadAttentionModel(checkpoint, { ...COMPUTE, weights })
  const store = createExpertStore({ checkpoint, ...COMPUTE, weights })
  await store.place(Array.from({ length: store.plan.numShards }, (_, shard) => shard))
  const room = createRoom(COMPUTE.kernels)
  const pool = {
    kernels: COMPUTE.kernels,
    layers: model.spec.layers.map(({ attention }) => headsOf(attention)),
    format: model.kv,
  }

  const read = (text: string): ReadText => {
    const tokens = checkpoint.tokenizer?.encode(text).slice(0, TOKENS_PER_FILE) ?? []
    const places = [...tokens.keys()]
    const cache = new KvCache(pool)
    cache.reserve(tokens.length)
    const views = rowViews(
      0,
      places.map((place) => place - 1),
      places,
    )
    const batch = layOut(
      model,
      room,
      batchRows(model, [{ views, slots: places, pages: cache.addresses }], tokens, places),
    )
    for (const layer of model.layers.keys()) {
      const { operands, routes } = runAttention(model, layer, batch)
      runInPlace(store.plan, layer, operands, routes, (touched) =>
        touched.flatMap(({ shard, expert }) => store.expert(layer, shard, expert) ?? []),
      )
    }
    const last = lastHidden(model, batch)
    const choices = Int32Array.from(model.head.run(last, places), argmax)
    cache.release()
    return { tokens: Int32Array.from(tokens), hidden: model.head.norm(last), choices }
  }

  const [, ...files] = readFileSync(join(repositoryRoot, HELD_OUT), 'utf8').split(/^=== .*\n/m)
  const texts = files.map(read)
  model.dispose()
  room.dispose()
  await store.dispose()
  return texts
}

export function argmax(logits: Float32Array): number {
  let best = 0
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token
  return best
}
