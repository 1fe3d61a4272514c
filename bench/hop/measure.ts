// One process against a process per service, over NATS, with the same requests in turn; and what the processes of the
// latter compute meanwhile.
//
// Invariants
//   O1  A round's two values come one right after the other: their ratio is of the same minute of this machine.
//   O2  Speed and processor time are of the same span: from the requests to the last token of the last stream.

import { takeTurns } from '../in-turn.js'
import type { ModelFacts } from '../peers/checkpoints.js'
import { wallRate } from '../peers/contender.js'
import { startOurs, type Ours } from '../peers/ours.js'
import { drawPrompts } from '../peers/prompts.js'
import type { Timeline } from '../peers/protocol.js'
import { measureFanOut, type RoundTrip } from '../raw/network.js'
import { measureLayerBytes, type LayerBytes } from './layer-bytes.js'
import { clusterProcesses, elapsed, readProcessorTimes, type ClusterProcess } from './processor-time.js'
import { usageOf, type Usage } from './usage.js'

export interface HopOptions {
  readonly rounds: number
  readonly numTokens: number // that each stream decodes
  readonly threads: number
  readonly cores: number
  readonly roundTrips: number // of the raw fan-out
  readonly notify: (words: string) => void
}

export interface HopRow {
  readonly streams: number
  readonly local: readonly number[] // tokens per second, one per round
  readonly nats: readonly number[]
  readonly usage: readonly Usage[] // of the NATS cluster, one per round
}

export interface HopResult {
  readonly model: Pick<ModelFacts, 'name' | 'layers'>
  readonly rows: readonly HopRow[]
  readonly processes: readonly Pick<ClusterProcess, 'role'>[]
  readonly layerBytes: LayerBytes // with the most streams
  readonly fanOut: RoundTrip['microseconds'] // the same bytes without Banyan
}

export const STREAMS = [16, 1]
const MOST_STREAMS = Math.max(...STREAMS)
const PROMPT_TOKENS = 4 // next to nothing beside what is decoded

const CLUSTERS = {
  local: ['--transport', 'local'],
  nats: ['--transport', 'nats', '--experts', '2'],
} as const

export async function measureHop(model: ModelFacts, options: HopOptions): Promise<HopResult> {
  const common = { model: model.folder, weights: 'int8', threads: options.threads }
  const local = await startOurs({ ...common, flags: CLUSTERS.local })
  try {
    const nats = await startOurs({ ...common, flags: CLUSTERS.nats })
    try {
      return await measureBoth(model, { local, nats }, options)
    } finally {
      await nats.stop()
    }
  } finally {
    await local.stop()
  }
}

type Clusters = Readonly<Record<keyof typeof CLUSTERS, Ours>>

async function measureBoth(model: ModelFacts, clusters: Clusters, options: HopOptions): Promise<HopResult> {
  const { nats } = clusters
  if (nats.up.nats === null) throw new Error('--transport nats: want the URL of its server, found none')
  const processes = await clusterProcesses(nats.up)
  const layerBytes = await measureLayerBytes(processes, model.layers, (numTokens) =>
    decode(nats, model, { streams: MOST_STREAMS, numTokens, seed: numTokens }),
  )
  const { request: requestBytes, reply: replyBytes } = layerBytes
  const rows = STREAMS.map((streams) => ({
    streams,
    local: [] as number[],
    nats: [] as number[],
    usage: [] as Usage[],
  }))
  for (let round = 0; round <= options.rounds; round++) {
    for (const row of rows) {
      const size = { streams: row.streams, numTokens: options.numTokens, seed: 1000 + 100 * round + row.streams }
      await takeTurns(round, ['local', 'nats'] as const, async (name) => {
        const before = readProcessorTimes(processes)
        const timeline = await decode(clusters[name], model, size)
        const times = elapsed(before, readProcessorTimes(processes))
        if (round === 0) return // warms up
        row[name].push(wallRate(timeline))
        const numTokens = timeline.tokens.flat().length
        if (name === 'nats') row.usage.push(usageOf(times, { numTokens, cores: options.cores }))
      })
    }
    options.notify(`${model.name}: round ${round} of ${options.rounds}`)
  }
  const fanOut = await measureFanOut({
    natsUrl: nats.up.nats,
    requestBytes,
    replyBytes,
    roundTrips: options.roundTrips,
  })
  return { model: { name: model.name, layers: model.layers }, rows, processes, layerBytes, fanOut }
}

interface Size {
  readonly streams: number
  readonly numTokens: number
  readonly seed: number
}

const decode = (side: Ours, { vocabSize }: ModelFacts, { streams, numTokens, seed }: Size): Promise<Timeline> =>
  side.decode(drawPrompts({ seed, count: streams, length: PROMPT_TOKENS, vocabSize }), numTokens)
