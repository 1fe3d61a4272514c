// What a router’s workers need beside what a test is about: experts that are always placed, and options.

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

export const routerOptions = {
  host: '',
  httpPort: 0,
  grpcPort: 0,
  apiKeys: [],
  replicas: 1,
  draft: [],
  draftSharing: 'key',
  acceptance: 'exact',
  maxWaiting: 10,
  numAttention: 1,
  numExperts: 1,
  model: { path: '', weights: 'f32' },
} as const
