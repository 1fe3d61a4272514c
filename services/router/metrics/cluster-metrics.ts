// What the router holds and sees, read at every scrape: its queue, KV blocks, processes, the routing table, the cost model.

import { MS_PER_SECOND, setTotal, type MetricsRegistry } from '../../../lib/metrics/registry.js'
import type { CostSummary } from '../cost-model.js'
import type { ClusterStatus } from '../engine.js'
import type { ExpertLoad } from '../expert-load.js'
import { BLOCK_TOKENS } from '../kv-blocks.js'
import type { Membership } from '../membership.js'
import type { Rebalancer } from '../rebalancer.js'
import { PRIORITIES } from '../waiting-queue.js'
import type { AttentionWorkers } from '../workers.js'

const ROLES = ['router', 'attention', 'expert-worker', 'drafter']
const STATES = ['starting', 'ready', 'suspect', 'draining', 'dead']

export interface ClusterSources {
  readonly workers: Pick<
    AttentionWorkers,
    'numRunning' | 'numWaiting' | 'numParked' | 'kvUsage' | 'kvBlocks' | 'waiting'
  >
  readonly membership: Pick<Membership, 'processes' | 'lateHeartbeats'>
  readonly placement: () => ClusterStatus['placement']
  readonly expertLoad: Pick<ExpertLoad, 'byWorker'>
  readonly rebalancer: Pick<Rebalancer, 'figures'>
  readonly stepCost: () => CostSummary | undefined
  readonly numOpenRequests: () => number
  readonly prefixCache: boolean
  readonly nowMs: () => number
}

export function addClusterMetrics(registry: MetricsRegistry, sources: ClusterSources): void {
  addQueue(registry, sources)
  addKv(registry, sources)
  addProcesses(registry, sources)
  addExperts(registry, sources)
  addCost(registry, sources)
}

function addQueue(registry: MetricsRegistry, { workers, numOpenRequests, nowMs }: ClusterSources): void {
  const running = registry.gauge('vllm:num_requests_running', 'Sequences that are being stepped.')
  const waiting = registry.gauge('vllm:num_requests_waiting', 'Sequences that wait for room.')
  const parked = registry.gauge(
    'banyan:parked_sequences',
    'Waiting sequences that are paused because their reader is slow.',
  )
  const byClass = registry.gauge(
    'banyan:waiting_sequences',
    'Sequences that wait for room, by class of priority; without those that are parked.',
    {
      priority: PRIORITIES,
    },
  )
  const oldest = registry.gauge(
    'banyan:oldest_waiting_seconds',
    'How long who has waited longest waits for room; without those that are parked.',
  )
  const open = registry.gauge(
    'banyan:open_requests',
    'Requests that have not ended, those that run elsewhere included.',
  )
  registry.onScrape(() => {
    running.set(workers.numRunning)
    waiting.set(workers.numWaiting)
    parked.set(workers.numParked)
    open.set(numOpenRequests())
    const sequences = workers.waiting().filter(({ emitter }) => !emitter.isPaused) // parked: nothing is short for them
    for (const priority of PRIORITIES)
      byClass.set({ priority }, sequences.filter((sequence) => sequence.priority === priority).length)
    const now = nowMs()
    const since = sequences.reduce((first, { waitsSinceMs = now }) => Math.min(first, waitsSinceMs), now)
    oldest.set((now - since) / MS_PER_SECOND)
  })
}

function addKv(registry: MetricsRegistry, { workers, prefixCache }: ClusterSources): void {
  const usage = registry.gauge(
    'vllm:kv_cache_usage_perc',
    'Share of the KV blocks in use by running sequences, 0 to 1.',
  )
  const config = registry.gauge('vllm:cache_config_info', 'The KV cache that this router uses; the value is 1.', {
    block_size: [],
    num_gpu_blocks: [],
    enable_prefix_caching: [],
  })
  const blocks = registry.gauge(
    'banyan:kv_blocks',
    `KV blocks of ${BLOCK_TOKENS} tokens: used by running sequences, kept for their prefixes, free.`,
    { state: ['used', 'kept', 'free'] },
  )
  const capacity = registry.gauge('banyan:kv_capacity_tokens', 'KV capacity that this router may use, in tokens.')
  const used = registry.gauge('banyan:kv_used_tokens', 'Of that in use by running sequences, in whole blocks.')
  registry.onScrape(() => {
    const { used: numUsed, kept, capacity: numBlocks } = workers.kvBlocks
    usage.set(workers.kvUsage)
    config.reset()
    const labels = { block_size: BLOCK_TOKENS, num_gpu_blocks: numBlocks, enable_prefix_caching: String(prefixCache) }
    config.set(labels, 1)
    blocks.set({ state: 'used' }, numUsed)
    blocks.set({ state: 'kept' }, kept)
    blocks.set({ state: 'free' }, Math.max(0, numBlocks - numUsed - kept))
    capacity.set(numBlocks * BLOCK_TOKENS)
    used.set(numUsed * BLOCK_TOKENS)
  })
}

function addProcesses(registry: MetricsRegistry, { membership, placement }: ClusterSources): void {
  const processes = registry.gauge(
    'banyan:processes',
    'Processes that this router knows, by role and state; a dead one is known for a minute.',
    { role: ROLES, state: STATES },
  )
  const late = registry.counter(
    'banyan:late_heartbeats_total',
    'Times that a process was not heard of for so long that it became a suspect.',
  )
  const shards = registry.gauge('banyan:expert_shards', 'Expert shards of the checkpoint.')
  const replicas = registry.gauge('banyan:expert_replicas_wanted', 'Holders that every shard should have.')
  const copies = registry.gauge('banyan:expert_replicas', 'Holders of the shard that has the fewest.')
  registry.onScrape(() => {
    const known = membership.processes()
    for (const role of ROLES) {
      for (const state of STATES) {
        processes.set({ role, state }, known.filter((one) => one.role === role && one.state === state).length)
      }
    }
    setTotal(late, membership.lateHeartbeats)
    const now = placement()
    shards.set(now.shards)
    replicas.set(now.replicas)
    copies.set(now.copies)
  })
}

function addExperts(registry: MetricsRegistry, { expertLoad, placement, rebalancer }: ClusterSources): void {
  const share = registry.gauge(
    'banyan:expert_worker_load_share',
    'Part of all expert work that a worker did in the last window of work, by worker.',
    { worker: [] },
  )
  const imbalance = registry.gauge(
    'banyan:expert_worker_imbalance_ratio',
    'Work of the busiest expert worker over the mean of all, in the last window: 1 is even.',
  )
  const moves = registry.counter(
    'banyan:rebalance_moves_total',
    'Changes of who holds a shard that this router decided.',
  )
  const expected = registry.gauge(
    'banyan:rebalance_imbalance_ratio',
    'The same ratio as it was expected before and after the last of these changes.',
    { when: ['before', 'after'] },
  )
  registry.onScrape(() => {
    share.reset()
    const total = [...expertLoad.byWorker.values()].reduce((sum, work) => sum + work, 0)
    for (const [worker, work] of expertLoad.byWorker) share.set({ worker }, total === 0 ? 0 : work / total)
    imbalance.set(placement().imbalance ?? 0)
    const { moves: numMoves, last } = rebalancer.figures
    setTotal(moves, numMoves)
    if (last === undefined) return
    expected.set({ when: 'before' }, last.before)
    expected.set({ when: 'after' }, last.after)
  })
}

function addCost(registry: MetricsRegistry, { stepCost }: ClusterSources): void {
  const error = registry.gauge(
    'banyan:step_prediction_error_ratio',
    '|predicted - actual| / actual of step times over the last steps; predictor last_similar is the baseline.',
    { predictor: [], quantile: [] },
  )
  const predictions = registry.gauge('banyan:step_predictions', 'Steps whose time was predicted and compared.')
  const seconds = registry.gauge(
    'banyan:step_cost_seconds',
    'What the cost model holds one unit of each term to cost.',
    {
      term: [],
    },
  )
  registry.onScrape(() => {
    const cost = stepCost()
    if (cost === undefined) return
    for (const [predictor, one] of Object.entries({ cost_model: cost.error, last_similar: cost.baseline })) {
      if (one.count === 0) continue // nothing to tell yet
      error.set({ predictor, quantile: '0.5' }, one.median)
      error.set({ predictor, quantile: '0.9' }, one.p90)
    }
    predictions.set(cost.error.count)
    for (const [term, ms] of Object.entries(cost.terms)) seconds.set({ term }, ms / MS_PER_SECOND)
  })
}
