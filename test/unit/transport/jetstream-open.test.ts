// The opening of a JetStream store while another client is making its stream: answers in orders that a cluster gives.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { openJetStreamStore } from '../../../lib/transport/jetstream-store.js'

const options = { stream: 'records', subject: 'test.journal' }
const ours = {
  config: {
    subjects: ['test.journal.*'],
    storage: 'file',
    discard: 'new',
    max_msgs_per_subject: 1,
    num_replicas: 3,
  },
}
const notFound = { error: { code: 404, err_code: 10059, description: 'stream not found' } }
const nameInUse = { error: { code: 400, err_code: 10058, description: 'stream name already in use' } }

describe('the opening of a JetStream store', () => {
  const openWith = async (answers: readonly unknown[]): Promise<readonly string[]> => {
    const asked: string[] = []
    await openJetStreamStore(
      {
        maxPayloadBytes: 1024 * 1024,
        isClustered: true,
        request: async (subject) => {
          const answer = answers[asked.length]
          asked.push(subject.replace('$JS.API.STREAM.', ''))
          assert.ok(answer, `asked once more: ${subject}`)
          return Buffer.from(JSON.stringify(answer))
        },
      },
      options,
    )
    return asked
  }

  it('looks again for a stream that is in the making elsewhere', async () => {
    const asked = await openWith([notFound, nameInUse, notFound, ours])
    assert.deepEqual(asked, ['INFO.records', 'CREATE.records', 'INFO.records', 'INFO.records'])
  })

  it('refuses another stream of that name, which has come meanwhile', async () => {
    const other = { config: { ...ours.config, subjects: ['other.>'] } }
    await assert.rejects(
      openWith([notFound, nameInUse, other]),
      (error: unknown) => error instanceof ClusterError && error.details.reason === 'STREAM_MISMATCH',
    )
  })
})
