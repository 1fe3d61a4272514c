// How many experts a row goes to, at most, in any layer of a model.

import type { ModelSpec } from './spec.js'

/** 0 where no layer has a gate. */
export const topKOf = ({ layers }: Pick<ModelSpec, 'layers'>): number =>
  layers.reduce((most, { ffn }) => Math.max(most, ffn.gate?.topK ?? 0), 0)
