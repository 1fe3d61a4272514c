// The report's folder: exactly one `.jsonl`, one `.json`, one `.csv`, one `.html`. Each file is there whole or not at all,
// what was measured before what is drawn of it.

import { createWriteStream } from 'node:fs'
import { mkdir, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { TraceError } from '../trace-error.js'

export const PROFILE_LINES = 'profile_export.jsonl'
export const SUMMARY_JSON = 'profile_export_aiperf.json'
export const SUMMARY_CSV = 'profile_export_aiperf.csv'
export const REPORT_HTML = 'report.html'

const OURS = new Set([PROFILE_LINES, SUMMARY_JSON, SUMMARY_CSV, REPORT_HTML].flatMap((name) => [name, partOf(name)]))

export interface ReportFiles {
  readonly lines: Iterable<string> // written one by one: together they may be longer than a string can be
  readonly json: unknown
  readonly csv: string
  readonly html: () => string // drawn when the others are written: they stay should it throw
}

/** Makes the folder. Throws where it holds files of someone else, which a report must not be mixed with. */
export async function openReportFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new TraceError(
      'invalid_argument',
      `${folder}: want a folder for the report, found none and could not make it`,
      {
        cause: error,
      },
    )
  })
  const other = (await readdir(folder)).find((name) => !OURS.has(name))
  if (other !== undefined) {
    throw new TraceError(
      'invalid_argument',
      `${folder}: want an empty folder or that of an earlier report, found ${other} in it`,
    )
  }
}

export async function writeReport(folder: string, { lines, json, csv, html }: ReportFiles): Promise<void> {
  await writeWhole(join(folder, PROFILE_LINES), ended(lines))
  await writeWhole(join(folder, SUMMARY_JSON), [`${JSON.stringify(json, undefined, 2)}\n`])
  await writeWhole(join(folder, SUMMARY_CSV), [csv])
  await writeWhole(join(folder, REPORT_HTML), [html()])
}

function* ended(lines: Iterable<string>): Generator<string> {
  for (const line of lines) yield `${line}\n`
}

async function writeWhole(path: string, parts: Iterable<string>): Promise<void> {
  await pipeline(Readable.from(parts), createWriteStream(partOf(path)))
  await rename(partOf(path), path)
}

/** What a writer that was killed leaves. */
function partOf(path: string): string {
  return `${path}.part`
}
