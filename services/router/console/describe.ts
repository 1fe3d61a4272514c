// The model and the cluster in the console's words.

import type { ConsoleCluster, ConsoleHello } from '../../../lib/console/frame.js'
import type { ClusterStatus, ModelInfo } from '../engine.js'

export const describeModel = (
  model: ModelInfo,
): Pick<ConsoleHello, 'model' | 'family' | 'weights' | 'numLayers' | 'numExperts'> => ({
  model: model.id,
  family: model.family,
  weights: model.weightFormat,
  numLayers: model.numLayers,
  numExperts: model.numExperts,
})

export const describeCluster = ({
  epoch,
  processes,
  requests,
  kvUsage,
  placement,
}: ClusterStatus): Omit<ConsoleCluster, 'isReady'> => ({ epoch, processes, ...requests, kvUsage, placement })
