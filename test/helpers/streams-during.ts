// Streams that run while a cluster is changed: what they say is compared with what they said in quiet.

import { BanyanClient } from '../../sdk/src/index.js'
import { PROMPTS } from './prompts.js'

export const STREAMS = 8

/**
 * All streams, over and over until `meanwhile` has ended, then to their ends; the tokens of every round. No request is
 * tried a second time. `doors`: gRPC addresses that take requests at the time, asked anew for every stream.
 */
export async function streamsDuring(
  doors: () => readonly string[],
  meanwhile: () => Promise<void>,
): Promise<(readonly number[])[][]> {
  const clients = new Map<string, BanyanClient>()
  const clientOf = (address: string): BanyanClient => {
    const client = clients.get(address) ?? new BanyanClient({ address, maxAttempts: 1 })
    clients.set(address, client)
    return client
  }
  let isChanging = true
  const one = async (i: number): Promise<readonly number[]> => {
    const open = doors()
    const client = clientOf(open[i % open.length] ?? '')
    const tokens: number[] = []
    const sampling = { temperature: i % 2 === 0 ? 0 : 0.9, seed: BigInt(i), maxTokens: 96, ignoreEos: true }
    for await (const event of client.generate({ text: PROMPTS[i] ?? 'a', sampling }, { deadlineMs: 60_000 })) {
      if (event.type === 'chunk') tokens.push(...event.tokenIds)
    }
    return tokens
  }
  const rounds: (readonly number[])[][] = []
  const changes = meanwhile().finally(() => {
    isChanging = false
  })
  try {
    do rounds.push(await Promise.all(Array.from({ length: STREAMS }, (_, i) => one(i))))
    while (isChanging)
    await changes
  } finally {
    for (const client of clients.values()) client.close()
  }
  return rounds
}
