// Where the setting `journal` puts what routers accept (O1, O2).

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openOwnJournal, openSharedJournal } from '../../../lib/config/open-journal.js'
import type { Logger } from '../../../lib/config/service.js'
import type { ClusterError } from '../../../lib/errors.js'
import { connectNats } from '../../../lib/transport/nats.js'
import type { RecordStore } from '../../../lib/transport/record-store.js'
import { startNatsForTest } from '../../helpers/nats.js'

describe('journal setting', () => {
  const warnings: string[] = []
  const logger: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (_, message) => void warnings.push(message),
    error: () => undefined,
  }
  beforeEach(() => void warnings.splice(0))

  /** Opens it on a server with JetStream or without. */
  const open = async (journal: string, jetstream: boolean): Promise<RecordStore | undefined> => {
    const nats = await startNatsForTest({ jetstream })
    const transport = await connectNats({ url: nats.url, name: 'test' })
    try {
      return await openSharedJournal({ journal, transport, cluster: 'main', logger })
    } finally {
      await transport.close()
      await nats.stop()
    }
  }

  it('auto: on the server where it has JetStream, else one warning', async () => {
    assert.equal((await open('auto', true))?.isDurable, true)
    assert.deepEqual(warnings, [])
    assert.equal(await open('auto', false), undefined)
    assert.equal(warnings.length, 1)
  })

  it('a folder: fails where the server can keep nothing', async () => {
    await assert.rejects(open('/some/folder', false), (error: ClusterError) => error.details.reason === 'NO_JETSTREAM')
  })

  it('waits for JetStream as long as for the server (O3)', async () => {
    const nats = await startNatsForTest()
    const transport = await connectNats({ url: nats.url, name: 'test' })
    const waited: (number | undefined)[] = []
    const openRecords: typeof transport.openRecords = (options) => {
      waited.push(options.timeoutMs)
      return transport.openRecords!(options)
    }
    const options = { journal: 'auto', transport: { ...transport, openRecords }, cluster: 'main', logger }
    await openSharedJournal(options)
    await openSharedJournal({ ...options, natsWaitSeconds: 60 })
    await transport.close()
    await nats.stop()
    assert.deepEqual(waited, [10_000, 60_000])
  })

  it('off: nowhere', async () => {
    assert.equal(await open('off', true), undefined)
    assert.equal(await openOwnJournal('off', logger), undefined)
  })

  it('in one process: memory, or the file in the folder', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-journal-test-'))
    assert.equal((await openOwnJournal('auto', logger))?.isDurable, false)
    const store = await openOwnJournal(folder, logger)
    assert.equal(store?.isDurable, true)
    assert.ok(existsSync(join(folder, 'journal.log')))
    await store.close()
    rmSync(folder, { recursive: true })
  })
})
