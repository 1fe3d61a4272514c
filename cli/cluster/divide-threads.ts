// Decides how the machine's compute threads are shared out among processes. Attention and expert workers take turns
// within a step, so each side may have them all; several workers of one side run at the same time and share.

import type { ClusterConfig } from '../../lib/config/schema.js'

export interface ThreadShares {
  readonly attention: number // threads of each attention worker
  readonly expertWorker: number
}

export function divideThreads({
  threads,
  attention,
  experts,
}: Pick<ClusterConfig, 'threads' | 'attention' | 'experts'>): ThreadShares {
  const share = (numWorkers: number): number => Math.max(1, Math.floor(threads / numWorkers))
  return { attention: share(attention), expertWorker: share(experts) }
}
