// A JetStream without room: another user of the server has taken it all.

import { connect } from 'nats'

const PIECE = new Uint8Array(64 * 1024)
const STREAM = 'chaos-junk'

/** Fills the server's store until it refuses; returns what makes room again. */
export async function fillStore(url: string): Promise<() => Promise<void>> {
  const connection = await connect({ servers: url })
  const manager = await connection.jetstreamManager()
  await manager.streams.add({ name: STREAM, subjects: [STREAM] })
  const stream = connection.jetstream()
  for (let isFull = false; !isFull;) {
    isFull = await stream.publish(STREAM, PIECE).then(
      () => false,
      () => true,
    )
  }
  return async () => {
    await manager.streams.delete(STREAM)
    await connection.close()
  }
}
