// The report's folder: exactly one `.jsonl`, one `.json`, one `.csv`, one `.html`. Each file is there whole or not at all.

import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TraceError } from '../trace-error.js'

export const PROFILE_LINES = 'profile_export.jsonl'
export const SUMMARY_JSON = 'profile_export_aiperf.json'
export const SUMMARY_CSV = 'profile_export_aiperf.csv'
export const REPORT_HTML = 'report.html'

const OURS = new Set([PROFILE_LINES, SUMMARY_JSON, SUMMARY_CSV, REPORT_HTML].flatMap((name) => [name, partOf(name)]))

export interface ReportFiles {
  readonly lines: readonly string[]
  readonly json: unknown
  readonly csv: string
  readonly html: string
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
  await writeWhole(join(folder, PROFILE_LINES), lines.map((line) => `${line}\n`).join(''))
  await writeWhole(join(folder, SUMMARY_JSON), `${JSON.stringify(json, undefined, 2)}\n`)
  await writeWhole(join(folder, SUMMARY_CSV), csv)
  await writeWhole(join(folder, REPORT_HTML), html)
}

async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(partOf(path), text)
  await rename(partOf(path), path)
}

/** What a writer that was killed leaves. */
function partOf(path: string): string {
  return `${path}.part`
}
