// What a router’s workers need beside what a test is about: experts that are always placed, and options.

import type { PlacementManager } from '../../../services/router/placement-manager.js'

export const placed: PlacementManager = {
  epoch: 1,
  table: [],
  replicas: 1,
  copies: 1,
  agreed: undefined,
  plan: { main: [], extra: [] },
  workers: [],
  refusal: undefined,
  isSettled: true,
  isStuck: false,
  lack: undefined,
  hold: () => ({ table: [], epoch: 1, release: () => undefined }),
  isComplete: () => true,
  order: () => [],
  heard: () => undefined,
  adopt: () => undefined,
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
  rebalance: true,
  draft: [],
  draftSharing: 'key',
  acceptance: 'exact',
  maxWaiting: 10,
  numAttention: 1,
  numExperts: 1,
  model: { path: '', weights: 'f32' },
} as const
