// `node dist/test/helpers/make-frames.js`: adds a frame to `test/fixtures/frames` for every kind that has none there.

import fc from 'fast-check'
import { existsSync, writeFileSync } from 'node:fs'
import { encodeFrame } from '../../lib/wire/frame.js'
import { arbitraryMessage, MESSAGE_KINDS } from './arbitrary-message.js'
import { goldenFile, readable, readGoldens } from './golden-frames.js'

const CANDIDATES = 20
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

for (const version of [1, 2]) {
  const known = existsSync(goldenFile(version)) ? readGoldens(version) : {}
  const goldens = MESSAGE_KINDS.map((kind, i) => {
    const candidates = fc.sample(arbitraryMessage(kind), { seed: version * 1000 + i, numRuns: CANDIDATES })
    const frames = candidates.map((message) => {
      const traceparent = i % 2 === 0 ? TRACEPARENT : undefined
      const envelope = { id: `router-0-${i}`, from: 'router-0', timeoutMs: i * 1000, epoch: i, traceparent }
      const frame = { version, speaks: { lowest: 1, highest: version }, envelope, message }
      return { hex: Buffer.from(encodeFrame(frame)).toString('hex'), frame: readable(frame) }
    })
    const fullest = frames.reduce((best, other) => (other.hex.length > best.hex.length ? other : best)) // most fields
    return [kind, known[kind] ?? fullest]
  })
  writeFileSync(goldenFile(version), `${JSON.stringify(Object.fromEntries(goldens), null, 1)}\n`)
}
