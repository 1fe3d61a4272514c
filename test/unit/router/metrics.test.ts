import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { createMetricsRegistry } from '../../../lib/metrics/registry.js'
import { createMemoryStore } from '../../../lib/transport/memory-store.js'
import type { RecordStore } from '../../../lib/transport/record-store.js'
import type { CostSummary } from '../../../services/router/cost-model.js'
import type { ClusterSources } from '../../../services/router/metrics/cluster-metrics.js'
import { createRouterMetrics } from '../../../services/router/metrics/router-metrics.js'
import { createUnstartedCount } from '../../../services/router/metrics/unstarted.js'
import { createRequests, type RequestRecord } from '../../../services/router/requests.js'
import type { StepReport } from '../../../services/router/step-report.js'
import { readSamples } from '../../helpers/samples.js'

function start(modelName = 'demo') {
  const registry = createMetricsRegistry(modelName)
  const clock = createManualClock()
  const metrics = createRouterMetrics(registry, { clock, prefixCache: true })
  const valueOf = async (name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> => {
    const wanted = Object.entries({ model_name: modelName, ...labels })
    return readSamples(await registry.text()).find(
      (sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value),
    )?.value
  }
  return { ...metrics, clock, valueOf, text: () => registry.text() }
}

const nothing: ClusterSources = {
  workers: {
    numRunning: 0,
    numWaiting: 0,
    numParked: 0,
    kvUsage: 0,
    kvBlocks: { used: 0, kept: 0, capacity: 0 },
    waiting: () => [],
  },
  membership: { processes: () => [], lateHeartbeats: 0 },
  placement: () => ({ shards: 8, replicas: 1, copies: 1, imbalance: null, moves: 0 }),
  expertLoad: { byWorker: new Map() },
  rebalancer: { figures: { moves: 0, last: undefined } },
  stepCost: () => undefined,
  numOpenRequests: () => 0,
  prefixCache: true,
  nowMs: () => 0,
}

const step: StepReport = {
  trees: 1,
  drafted: 2,
  accepted: 1,
  nodes: [
    { sources: ['suffix', 'ngram'], depth: 1, value: 0.75, isAccepted: true },
    { sources: ['ngram'], depth: 2, value: 0.5, isAccepted: false },
  ],
  numAsked: 1,
  offered: 5,
  price: 0.25,
  draftMs: 4,
  sequences: 3,
  rows: 5,
  emitted: 4,
  durationMs: 40,
  times: {
    attentionMs: 10,
    expertComputeMs: 8,
    expertHopMs: 6,
    headMs: 2,
    workerRestMs: 1,
    hopMs: 5,
    routerMs: 4,
    layers: undefined,
  },
}

describe('createRouterMetrics', () => {
  it('exports the names that load tools and autoscalers look for, with the model, from the start', async () => {
    const { watch, valueOf } = start()
    watch(nothing)
    const names = [
      'num_requests_running',
      'num_requests_waiting',
      'kv_cache_usage_perc',
      'prompt_tokens_total',
      'generation_tokens_total',
      'num_preemptions_total',
      'prefix_cache_queries_total',
      'prefix_cache_hits_total',
      'spec_decode_num_drafts_total',
      'spec_decode_num_draft_tokens_total',
      'spec_decode_num_accepted_tokens_total',
      'time_to_first_token_seconds_count',
      'inter_token_latency_seconds_count',
      'request_time_per_output_token_seconds_count',
      'e2e_request_latency_seconds_count',
      'request_queue_time_seconds_count',
      'request_prefill_time_seconds_count',
      'request_decode_time_seconds_count',
      'request_prompt_tokens_count',
      'request_generation_tokens_count',
    ]
    for (const name of names) assert.equal(await valueOf(`vllm:${name}`), 0, name)
    for (const finished_reason of ['stop', 'length', 'abort', 'error']) {
      assert.equal(await valueOf('vllm:request_success_total', { finished_reason }), 0)
    }
    assert.equal(await valueOf('vllm:spec_decode_num_accepted_tokens_per_pos_total', { position: '0' }), 0)
    assert.equal(await valueOf('vllm:cache_config_info', { block_size: '16', num_gpu_blocks: '0' }), 1)
  })

  it('counts a request from its prompt to its end', async () => {
    const { requests, valueOf } = start()
    requests.accepted(5)
    requests.tokens(1, 250, true)
    requests.tokens(3, 90, false)
    requests.finished('length', 340, { queueMs: 50, prefillMs: 200, decodeMs: 90, numTokens: 4 })
    assert.equal(await valueOf('vllm:prompt_tokens_total'), 5)
    assert.equal(await valueOf('vllm:request_prompt_tokens_sum'), 5)
    assert.equal(await valueOf('vllm:generation_tokens_total'), 4)
    assert.equal(await valueOf('vllm:request_generation_tokens_sum'), 4)
    assert.equal(await valueOf('vllm:time_to_first_token_seconds_sum'), 0.25)
    assert.equal(
      await valueOf('vllm:inter_token_latency_seconds_count'),
      1,
      'one gap, however many tokens came at once',
    )
    assert.equal(await valueOf('vllm:inter_token_latency_seconds_sum'), 0.09)
    assert.equal(await valueOf('vllm:request_time_per_output_token_seconds_sum'), 0.03)
    assert.equal(await valueOf('vllm:request_queue_time_seconds_sum'), 0.05)
    assert.equal(await valueOf('vllm:request_prefill_time_seconds_sum'), 0.2)
    assert.equal(await valueOf('vllm:request_decode_time_seconds_sum'), 0.09)
    assert.equal(await valueOf('vllm:e2e_request_latency_seconds_sum'), 0.34)
    assert.equal(await valueOf('vllm:request_success_total', { finished_reason: 'length' }), 1)
  })

  it('counts a cancelled request as vLLM does, and says nothing of the parts of its time', async () => {
    const { requests, valueOf } = start()
    requests.finished('cancelled', 1)
    assert.equal(await valueOf('vllm:request_success_total', { finished_reason: 'abort' }), 1)
    assert.equal(await valueOf('vllm:e2e_request_latency_seconds_count'), 1)
    assert.equal(await valueOf('vllm:request_decode_time_seconds_count'), 0)
  })

  it('counts choices that end before they have a sequence, once, and not those that another router ran', async () => {
    const { requests, clock, valueOf } = start()
    const unstarted = createUnstartedCount(requests, clock)
    const records = createRequests({
      clock,
      cancelSequences: () => undefined,
      onForgotten: () => undefined,
      onEnded: unstarted.ended,
      onResume: () => undefined,
    })
    const end = (id: string, code: 'unavailable' | 'cancelled', change: Partial<RequestRecord> = {}): void => {
      const record = records.open({ id, tenant: '', bodyHash: id, deadlineMs: undefined })
      if (id !== 'resumed') unstarted.accepted(record)
      Object.assign(record, { numChoices: 2 }, change)
      clock.advance(500)
      for (let i = 0; i < 2; i++) records.fail(record, new ClusterError(code, 'journal: no answer'))
    }
    end('a', 'unavailable')
    end('b', 'cancelled')
    end('elsewhere', 'unavailable', { runsAt: { router: 'r', incarnation: 'i', run: 1 } })
    end('resumed', 'unavailable')
    assert.equal(await valueOf('vllm:request_success_total', { finished_reason: 'error' }), 2)
    assert.equal(await valueOf('vllm:request_success_total', { finished_reason: 'abort' }), 2)
    assert.equal(await valueOf('vllm:e2e_request_latency_seconds_sum'), 2)
  })

  it('shares a step’s time out so that the parts add up to it', async () => {
    const { step: observe, text } = start()
    observe(step)
    const parts = readSamples(await text()).filter(({ name }) => name === 'banyan:step_part_seconds_total')
    const sum = parts.reduce((total, { value }) => total + value, 0)
    assert.equal(parts.length, 8)
    assert.ok(Math.abs(sum - step.durationMs / 1000) < 1e-9, `${sum}`)
  })

  it('counts drafts by source, depth and position, with what they were held to be worth', async () => {
    const { step: observe, valueOf } = start()
    observe(step)
    const nodes = 'banyan:draft_nodes_total'
    assert.equal(await valueOf(nodes, { source: 'ngram', depth: '1', accepted: 'true' }), 1)
    assert.equal(await valueOf(nodes, { source: 'suffix', depth: '1', accepted: 'true' }), 1)
    assert.equal(await valueOf(nodes, { source: 'ngram', depth: '2', accepted: 'false' }), 1)
    assert.equal(await valueOf('vllm:spec_decode_num_accepted_tokens_per_pos_total', { position: '0' }), 1)
    assert.equal(await valueOf('vllm:spec_decode_num_accepted_tokens_per_pos_total', { position: '1' }), 0)
    assert.equal(await valueOf('banyan:draft_value_total'), 1.25)
    assert.equal(await valueOf('banyan:tree_price'), 0.25)
  })

  it('tells how well step times are predicted, beside the baseline, once there was a prediction', async () => {
    const { watch, text, valueOf } = start()
    const error = { median: 0.1, p90: 0.4, count: 7 }
    const baseline = { median: NaN, p90: NaN, count: 0 }
    const cost = { error, baseline, terms: { row: 0.25 }, expertIndependence: 1 } as unknown as CostSummary // one term
    watch({ ...nothing, stepCost: () => cost })
    assert.equal(await valueOf('banyan:step_prediction_error_ratio', { predictor: 'cost_model', quantile: '0.5' }), 0.1)
    assert.equal(await valueOf('banyan:step_prediction_error_ratio', { predictor: 'cost_model', quantile: '0.9' }), 0.4)
    assert.doesNotMatch(await text(), /predictor="last_similar"/)
    assert.equal(await valueOf('banyan:step_predictions'), 7)
    assert.equal(await valueOf('banyan:step_cost_seconds', { term: 'row' }), 0.00025)
  })

  it('tells of the queue as it is at the scrape', async () => {
    const { watch, valueOf } = start()
    const emitter = { isPaused: false }
    const waiting = [
      { priority: 'low', waitsSinceMs: 1000, emitter },
      { priority: 'low', waitsSinceMs: 4000, emitter },
      { priority: 'high', waitsSinceMs: undefined, emitter: { isPaused: true } }, // parked
      { priority: 'normal', waitsSinceMs: 0, emitter: { isPaused: true } }, // preempted, and its reader is slow
    ] as unknown as ReturnType<ClusterSources['workers']['waiting']> // what is read of a sequence
    watch({ ...nothing, workers: { ...nothing.workers, waiting: () => waiting }, nowMs: () => 5000 })
    assert.equal(await valueOf('banyan:waiting_sequences', { priority: 'low' }), 2)
    assert.equal(await valueOf('banyan:waiting_sequences', { priority: 'normal' }), 0)
    assert.equal(await valueOf('banyan:oldest_waiting_seconds'), 4)
  })

  it('tells a failing journal from a record that somebody else changed', async () => {
    const { metered, valueOf } = start()
    const broken: RecordStore = {
      ...createMemoryStore(),
      get: () => Promise.reject(new ClusterError('unavailable', 'the disk is full')),
    }
    const store = metered(broken)
    const options = { timeoutMs: 1000 }
    await store.put('a', new Uint8Array(1), 0, options)
    await assert.rejects(store.put('a', new Uint8Array(1), 0, options), /record/)
    await assert.rejects(store.get('a', options), /full/)
    const operations = 'banyan:journal_operations_total'
    assert.equal(await valueOf(operations, { operation: 'write', outcome: 'ok' }), 1)
    assert.equal(await valueOf(operations, { operation: 'write', outcome: 'overtaken' }), 1)
    assert.equal(await valueOf(operations, { operation: 'write', outcome: 'failed' }), 0)
    assert.equal(await valueOf(operations, { operation: 'read', outcome: 'failed' }), 1)
    assert.equal(await valueOf('banyan:journal_seconds_count', { operation: 'write' }), 2)
  })

  it('keeps two routers in one process apart', async () => {
    const one = start('one')
    const two = start('two')
    one.requests.accepted(5)
    assert.equal(await two.valueOf('vllm:prompt_tokens_total'), 0)
  })
})
