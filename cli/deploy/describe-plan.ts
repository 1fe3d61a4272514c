// A plan for people: pods by role, then every figure with its arithmetic, then what was taken for granted. The same goes to
// the terminal and into PLAN.md.

import { assumptionsOf, figuresOf } from '../../lib/deploy/arithmetic.js'
import { PLAN_MARK } from '../../lib/deploy/overlay.js'
import type { NodePool } from '../../lib/deploy/node-pool.js'
import type { Plan } from '../../lib/deploy/plan.js'
import { rolePods } from '../../lib/deploy/role-pods.js'
import { memoryQuantity, processorQuantity, showBytes, showNumber, showRate } from '../../lib/deploy/units.js'
import { table } from '../terminal.js'

const nodeText = ({ name, count, cpus, memory, bandwidth, network, gpus, gpuMemory }: NodePool): string =>
  `${name}: ${count} × (${showNumber(cpus)} processors, ${showBytes(memory)}, reads ${showRate(bandwidth)}, network ${showRate(network)}${gpus > 0 ? `, ${gpus} GPUs of ${showBytes(gpuMemory)}` : ''})`

function summaryRows({ request, replicas, layout, model }: Plan): readonly (readonly string[])[] {
  const routed = model.load.layers.find(({ numExperts }) => numExperts > 0)
  const experts = routed === undefined ? 'dense' : `${routed.numExperts} experts, ${routed.topK} a token`
  const how = layout.isShared ? 'attention and experts share them' : 'attention and experts have nodes of their own'
  const total = request.pools.reduce((sum, { count }) => sum + count, 0)
  return [
    [
      'model',
      `${request.model} (${request.spec.family}), ${model.load.numLayers} layers, ${experts}; ${request.weights}${request.kvFormat === 'f32' ? '' : `, KV in ${request.kvFormat}`}`,
    ],
    ...request.pools.map((pool, i) => [i === 0 ? 'nodes' : '', nodeText(pool)]),
    ['used', `${layout.numNodes} of ${total} for workers; ${how}`],
    ['replicas', `${replicas} of every shard${request.replicas === undefined ? ' (two where they fit)' : ''}`],
  ]
}

const podRows = (plan: Plan): readonly (readonly string[])[] => [
  ['role', 'pods', 'nodes', 'processors', 'memory', 'limit', 'device'],
  ...rolePods(plan).map(({ role, pods, nodes, perNode, cpus, memory, memoryLimit, device }) => [
    role,
    String(pods),
    nodes === undefined ? 'any' : `${nodes} × ${perNode}`,
    processorQuantity(cpus),
    memoryQuantity(memory),
    memoryQuantity(memoryLimit),
    device,
  ]),
]

const figureRows = (plan: Plan): readonly (readonly string[])[] =>
  figuresOf(plan).map(({ name, value, arithmetic }) => [name, value, `= ${arithmetic}`])

export const describePlan = (plan: Plan): string =>
  [
    table(summaryRows(plan)),
    table(podRows(plan)),
    table(figureRows(plan)),
    `Taken for granted:\n${assumptionsOf(plan)
      .map((sentence) => `- ${sentence}`)
      .join('\n')}`,
  ].join('\n\n')

const cell = (text: string): string => text.replaceAll('|', '\\|')
const markdown = ([head = [], ...rows]: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

/** PLAN.md. */
export const planPage = (plan: Plan, command: string): string =>
  [
    `# Plan for ${plan.request.model}`,
    `${PLAN_MARK}; run it again instead of editing what lies here:`,
    `\`\`\`\n${command}\n\`\`\``,
    markdown([['', ''], ...summaryRows(plan)]),
    markdown(podRows(plan)),
    '## Arithmetic',
    markdown([['figure', 'value', 'arithmetic'], ...figureRows(plan)]),
    `## Taken for granted\n\n${assumptionsOf(plan)
      .map((sentence) => `- ${sentence}`)
      .join('\n')}`,
  ].join('\n\n') + '\n'

/** The plan for machines. */
export function planJson(plan: Plan) {
  const { request, services, layout, model, time } = plan
  return {
    model: request.model,
    weights: request.weights,
    kvFormat: request.kvFormat,
    replicas: plan.replicas,
    nodes: { given: request.pools, usedByWorkers: layout.numNodes, areShared: layout.isShared },
    expertWorkers: layout.experts.workers,
    shards: model.load.numShards,
    shardsPerWorker: plan.shardsPerWorker,
    spareShards: plan.spareShards,
    attentionWorkers: layout.attention.workers,
    routers: services.routers,
    drafters: services.drafters,
    natsServers: services.nats,
    microBatches: plan.microBatches,
    streams: plan.streams,
    streamsPerWorker: plan.streamsPerWorker,
    roomForStreams: plan.roomForStreams,
    context: request.context,
    kvTokens: plan.kvTokens,
    tpotMs: { wanted: request.tpotMs, expected: time.totalMs },
    tokensPerSecond: plan.tokensPerSecond,
    breakdownMs: {
      attention: time.attentionMs,
      experts: time.expertMs,
      network: time.networkMs,
      fixed: time.fixedMs,
      waiting: time.waitingMs,
    },
    limitedBy: time.limitedBy,
    pods: rolePods(plan).map(({ role, pods, mostPods, nodes, perNode, cpus, memory, memoryLimit, device }) => ({
      role,
      pods,
      mostPods,
      nodes: nodes ?? null,
      perNode,
      cpus,
      memoryBytes: Math.ceil(memory),
      memoryLimitBytes: Math.ceil(memoryLimit),
      device,
    })),
    arithmetic: figuresOf(plan),
    assumptions: assumptionsOf(plan),
  }
}
