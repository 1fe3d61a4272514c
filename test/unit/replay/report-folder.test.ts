// The folder of a report: new, empty or of an earlier report; never a place where something else lies.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openReportFolder, writeReport } from '../../../replay/src/report/write.js'

describe('the folder of a report', () => {
  let folder = ''
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-report-'))))
  afterEach(() => rmSync(folder, { recursive: true }))

  it('may be new, empty, or of an earlier report, even one that was killed while it wrote', async () => {
    await openReportFolder(join(folder, 'new'))
    rmSync(join(folder, 'new'), { recursive: true })
    await openReportFolder(folder)
    await writeReport(folder, { lines: ['{}'], json: {}, csv: '', html: () => '' })
    writeFileSync(join(folder, 'report.html.part'), '<')
    await openReportFolder(folder)
    assert.equal(readdirSync(folder).filter((name) => !name.endsWith('.part')).length, 4)
  })

  for (const name of ['x.txt', 'requests.jsonl', 'notes', '.hidden'])
    it(`is refused where ${name} lies in it`, async () => {
      writeFileSync(join(folder, name), '')
      await assert.rejects(openReportFolder(folder), {
        message: `${folder}: want an empty folder or that of an earlier report, found ${name} in it`,
      })
    })
})
