// Reading a body ends with its signal, whatever its peer does.

import assert from 'node:assert/strict'
import { bodyPieces } from '../../../cli/body-pieces.js'

describe('the pieces of a body', () => {
  const never = new AbortController().signal
  const drain = async (body: ReadableStream<number> | null, signal: AbortSignal): Promise<number[]> => {
    const all: number[] = []
    for await (const piece of bodyPieces(body, signal)) all.push(piece)
    return all
  }

  it('come in order; a body that is none has none', async () => {
    assert.deepEqual(await drain(ReadableStream.from([1, 2, 3]), never), [1, 2, 3])
    assert.deepEqual(await drain(null, never), [])
  })

  it('end with the signal although the stream stays silent, and the stream is told', async () => {
    const controller = new AbortController()
    let wasTold = false
    const silent = new ReadableStream<number>({
      start: (stream) => stream.enqueue(1),
      pull: () => controller.abort(new Error('enough')), // after the first piece nothing comes
      cancel: () => void (wasTold = true),
    })
    await assert.rejects(drain(silent, controller.signal), /enough/)
    assert.ok(wasTold)
    await assert.rejects(drain(new ReadableStream<number>(), AbortSignal.abort()), { name: 'AbortError' })
  })

  it('tell the stream when nobody wants more of them', async () => {
    let wasTold = false
    const endless = new ReadableStream<number>({
      pull: (stream) => stream.enqueue(1),
      cancel: () => void (wasTold = true),
    })
    for await (const piece of bodyPieces(endless, never)) if (piece === 1) break
    assert.ok(wasTold)
  })
})
