// The CPU's kernels as an engine of experts.

import type { WeightFormat } from '../model/spec.js'
import type { ExpertEngine } from './expert-engine.js'
import { computeExperts, packExpert, placeExpert, type PlacedExpert } from './expert-layer.js'
import type { Kernels } from './kernels.js'
import { roundedBlocks } from './tiles.js'

export const cpuExperts = (kernels: Kernels, hidden: number, format: WeightFormat): ExpertEngine<PlacedExpert> => ({
  readsRounded: roundedBlocks(hidden, format) > 0,
  setName: 'experts',
  pack: packExpert,
  place: (set, name, activation) => placeExpert(kernels, set, name, activation),
  compute: (work) => computeExperts(kernels, work),
  dispose: () => undefined, // the kernels are its giver's
})
