// How many bytes a layer's dispatch and gather carry when every stream has one row: what the expert workers read and
// write, from Linux's /proc, so that it does not matter how the frames travel.

import { readFileSync } from 'node:fs'
import type { ClusterProcess } from './processor-time.js'

export interface LayerBytes {
  readonly request: number // to each expert worker
  readonly reply: number // from each
}

export interface Traffic {
  readonly readBytes: number
  readonly writtenBytes: number
}

const WORKER = 'expert-worker'
const FEW = 8 // tokens of each stream
const MANY = 40

/** `decode` decodes so many tokens with every stream. What a request costs once cancels: only the steps between count. */
export async function measureLayerBytes(
  processes: readonly ClusterProcess[],
  numLayers: number,
  decode: (numTokens: number) => Promise<unknown>,
): Promise<LayerBytes> {
  const workers = processes.filter(({ role }) => role === WORKER)
  const trafficOf = async (numTokens: number): Promise<Traffic> => {
    const before = readTraffic(workers)
    await decode(numTokens)
    const after = readTraffic(workers)
    return {
      readBytes: after.readBytes - before.readBytes,
      writtenBytes: after.writtenBytes - before.writtenBytes,
    }
  }
  return perLayer(await trafficOf(FEW), await trafficOf(MANY), numLayers * workers.length * (MANY - FEW))
}

/** The longer run's traffic beyond the shorter one's, over the layer calls of the steps between. */
export function perLayer(few: Traffic, many: Traffic, numCalls: number): LayerBytes {
  const request = (many.readBytes - few.readBytes) / numCalls
  const reply = (many.writtenBytes - few.writtenBytes) / numCalls
  if (request > 0 && reply > 0) return { request: Math.round(request), reply: Math.round(reply) }
  throw new Error(`${WORKER}: want bytes read and written per layer, found ${request} and ${reply}`)
}

function readTraffic(processes: readonly ClusterProcess[]): Traffic {
  const all = processes.map(({ pid }) => parseTraffic(readFileSync(`/proc/${pid}/io`, 'utf8')))
  return {
    readBytes: all.reduce((sum, { readBytes }) => sum + readBytes, 0),
    writtenBytes: all.reduce((sum, { writtenBytes }) => sum + writtenBytes, 0),
  }
}

/** The text of /proc/PID/io: all that was read and written by system calls, sockets included. */
export function parseTraffic(text: string): Traffic {
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? NaN)
  return { readBytes: field('rchar'), writtenBytes: field('wchar') }
}
