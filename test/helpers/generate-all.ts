// Many generations through a cluster's gRPC door, all at once or one after another.

import { BanyanClient, type GenerateRequest } from '../../sdk/src/index.js'

export interface Job {
  readonly name: string
  readonly request: GenerateRequest
}

/** Name → token ids of the first choice. */
export async function generateAll(
  address: string,
  jobs: readonly Job[],
  mode: 'together' | 'alone',
): Promise<Record<string, readonly number[]>> {
  const client = new BanyanClient({ address })
  const results: Record<string, readonly number[]> = {}
  const run = async ({ name, request }: Job): Promise<void> => {
    results[name] = (await client.complete(request)).tokenIds
  }
  try {
    if (mode === 'together') await Promise.all(jobs.map(run))
    else for (const job of jobs) await run(job)
  } finally {
    client.close()
  }
  return results
}
