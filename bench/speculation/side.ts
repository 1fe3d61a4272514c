// A cluster that takes part in a comparison: `banyan up` with flags of its own.

import * as z from 'zod'
import { BanyanClient } from '../../sdk/src/index.js'
import { startUp } from '../up-process.js'

export interface Side {
  readonly name: string
  readonly client: BanyanClient
  /** Median of |predicted − measured| / measured over the last 512 steps; NaN before the first. */
  predictionError(): Promise<number>
  stop(): Promise<void>
}

/** What one side's router learned must not steer another's, nor a later run's. */
const COMMON = ['--cost-model-file', 'off']

const statusSchema = z.object({ stepCost: z.object({ errorMedian: z.number().nullable() }).optional() })

async function startSide(name: string, flags: readonly string[]): Promise<Side> {
  const up = await startUp([...COMMON, ...flags])
  const client = new BanyanClient({ address: up.grpc })
  return {
    name,
    client,
    predictionError: async () => {
      const status = statusSchema.parse(await (await fetch(`${up.http}/cluster`)).json())
      return status.stepCost?.errorMedian ?? NaN
    },
    stop: async () => {
      client.close()
      await up.stop()
    },
  }
}

/** Starts the sides one after the other, lets `use` have them, and stops them whatever comes of it. */
export async function withSides<T>(
  sides: Readonly<Record<string, readonly string[]>>,
  use: (sides: readonly Side[]) => Promise<T>,
): Promise<T> {
  const started: Side[] = []
  try {
    for (const [name, flags] of Object.entries(sides)) started.push(await startSide(name, flags))
    return await use(started)
  } finally {
    await Promise.all(started.map((side) => side.stop()))
  }
}
