// Which positions a layer sees: the last `sliding_window` of them in the layers that a family says, all in others.

import type { ConfigFields } from '../config-fields.js'
import { maxPositionsOf } from '../rope-config.js'

/** Positions that a layer's rows see, their own included; all of them where there is no number. */
export type WindowOf = (layer: number) => number | undefined

const SLIDING = 'sliding_attention'
const LAYER_TYPES: readonly unknown[] = [SLIDING, 'full_attention']

/** The same window in every layer, where one is given. */
export function windowEverywhere(fields: ConfigFields): WindowOf {
  const window = fields.has('sliding_window') ? windowOf(fields) : undefined
  return () => window
}

/** A window in the layers whose `layer_types` say so. */
export function windowByLayerType(fields: ConfigFields, types: readonly string[]): WindowOf {
  const window = types.includes(SLIDING) ? windowOf(fields) : undefined
  return (layer) => (types[layer] === SLIDING ? window : undefined)
}

/** `layer_types`, or what the family takes for them where the configuration has none. */
export function layerTypesOf(fields: ConfigFields, isSliding: (layer: number) => boolean): readonly string[] {
  const numLayers = fields.size('num_hidden_layers')
  if (!fields.has('layer_types'))
    return Array.from({ length: numLayers }, (_, layer) => (isSliding(layer) ? SLIDING : 'full_attention'))
  const types = fields.raw('layer_types')
  const isList = Array.isArray(types) && types.length === numLayers && types.every((type) => LAYER_TYPES.includes(type))
  return isList ? (types as string[]) : fields.refuse('layer_types', `${numLayers} of ${LAYER_TYPES.join(', ')}`) // every item was just checked
}

/** A window that reaches over every position is none. */
function windowOf(fields: ConfigFields): number | undefined {
  const window = fields.size('sliding_window')
  return window < maxPositionsOf(fields) ? window : undefined
}
