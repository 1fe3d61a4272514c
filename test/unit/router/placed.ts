// Experts that are always placed: for tests of what comes before them.

import type { PlacementManager } from '../../../services/router/placement-manager.js'

export const placed: PlacementManager = {
  epoch: 1,
  table: [],
  replicas: 1,
  copies: 1,
  hold: () => ({ table: [], epoch: 1, release: () => undefined }),
  isComplete: () => true,
  reconcile: () => undefined,
  setReplicas: () => undefined,
  distrust: () => undefined,
  stop: () => undefined,
}
