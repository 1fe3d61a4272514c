// How many bytes of weights a decode step of one stream must read: the measure of what memory allows at most.

import type { ModelFacts, Width } from './checkpoints.js'

/** Bytes per weight, block scales included: ours has float32 scales for 32 weights, GGUF float16 ones. */
const BYTES_PER_WEIGHT: Readonly<Record<'ours' | 'theirs', Readonly<Record<Width, number>>>> = {
  ours: { f32: 4, int8: 1 + 4 / 32, int4: 0.5 + 4 / 32 },
  theirs: { f32: 4, int8: 1 + 2 / 32, int4: 0.5 + 2 / 32 },
}

/** Active matrices of a token at one width; of an embedding that is not also the LM head only one row is read. */
export function activeBytes(
  model: Pick<ModelFacts, 'activeParameters' | 'vocabSize' | 'hidden' | 'isTied'>,
  width: Width,
  side: 'ours' | 'theirs',
): number {
  const idleEmbedding = model.isTied ? 0 : model.vocabSize * model.hidden
  return (model.activeParameters - idleEmbedding) * BYTES_PER_WEIGHT[side][width]
}
