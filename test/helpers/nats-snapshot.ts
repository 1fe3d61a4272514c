// What `nats stream backup` and `nats stream restore` say to a server: a stream as chunks, each acknowledged.

import { createInbox, JSONCodec, type NatsConnection, type StreamInfo } from 'nats'
import assert from 'node:assert/strict'
import * as z from 'zod'

const TIMEOUT_MS = 10_000
const CHUNK_BYTES = 1_024 // small ones: acknowledgements are what a user may lack

const json = JSONCodec<unknown>()
const answer = z.object({ error: z.unknown().optional(), deliver_subject: z.string().optional() })

async function ask(connection: NatsConnection, subject: string, body: unknown): Promise<z.infer<typeof answer>> {
  const reply = await connection.request(subject, json.encode(body), { timeout: TIMEOUT_MS })
  const said = answer.parse(json.decode(reply.data))
  assert.equal(said.error, undefined, `${subject}: ${JSON.stringify(said.error)}`)
  return said
}

/** The chunks of a stream. */
export async function snapshot(connection: NatsConnection, stream: string): Promise<Uint8Array[]> {
  const inbox = createInbox()
  const chunks: Uint8Array[] = []
  const arriving = connection.subscribe(inbox, { timeout: TIMEOUT_MS })
  await ask(connection, `$JS.API.STREAM.SNAPSHOT.${stream}`, { deliver_subject: inbox, chunk_size: CHUNK_BYTES })
  for await (const message of arriving) {
    if (message.data.length === 0) break // the last one has nothing in it
    chunks.push(message.data)
    message.respond()
  }
  return chunks
}

/** Makes the stream anew, of its chunks. */
export async function restore(
  connection: NatsConnection,
  { config, state }: Pick<StreamInfo, 'config' | 'state'>,
  chunks: readonly Uint8Array[],
): Promise<void> {
  const { deliver_subject: to } = await ask(connection, `$JS.API.STREAM.RESTORE.${config.name}`, { config, state })
  assert.ok(to !== undefined)
  for (const chunk of chunks) await connection.request(to, chunk, { timeout: TIMEOUT_MS })
  const last = await connection.request(to, new Uint8Array(0), { timeout: TIMEOUT_MS })
  const said = answer.parse(json.decode(last.data))
  assert.equal(said.error, undefined, JSON.stringify(said.error))
}
