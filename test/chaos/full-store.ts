// A journal without room: its streams are filled with records of nobody.

import { connect } from 'nats'

const PIECES_BYTES = [256 * 1024, 1024] // large ones first, then what still fits
const JUNK = 'chaos-junk'

/** Fills every stream of the server until it refuses; returns what makes room again, or throws where there is none. */
export async function fillStore(url: string): Promise<() => Promise<void>> {
  const connection = await connect({ servers: url })
  const manager = await connection.jetstreamManager()
  const jetstream = connection.jetstream()
  const streams = await manager.streams.list().next()
  if (streams.length === 0) throw new Error('want a journal on the server, found no stream')
  const places = streams.map(({ config }) => ({ name: config.name, subjects: config.subjects ?? [] }))
  const put: { readonly name: string; readonly seq: number }[] = []

  const add = async (name: string, subject: string, bytes: number): Promise<boolean> => {
    const acked = await jetstream.publish(subject, new Uint8Array(bytes)).catch(() => undefined) // no room left
    if (acked !== undefined) put.push({ name, seq: acked.seq })
    return acked !== undefined
  }
  for (const { name, subjects } of places) {
    for (const bytes of PIECES_BYTES) {
      for (const subject of subjects) {
        while (await add(name, subject.replace('*', `${JUNK}-${put.length}`), bytes));
      }
    }
  }
  return async () => {
    // One by one: a purge by subject leaves the server's account of what is stored as it was (nats-server 2.9).
    for (const { name, seq } of put) await manager.streams.deleteMessage(name, seq)
    await connection.close()
  }
}
